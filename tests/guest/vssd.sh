#!/bin/bash
# SPDX-License-Identifier: MIT
#
# vssd.sh [TIMES]: SSDs that vssd.ko plays, under the stock driver and beside it; made and removed while they are in use.
# With TIMES, only that, so often.
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

times=${1:-3}

# in_use DISK: reads and writes, several commands of each at a time, until it is gone. By dd, which the slowest guest
# starts at once, where fio takes it a quarter of a minute.
in_use() {
	while dd if="/dev/$1" of=/dev/null bs=4M count=16 iflag=direct; do :; done &
	while dd if=/dev/zero of="/dev/$1" bs=4M count=16 oflag=direct conv=nocreat; do :; done
	wait
}

# removed_in_use NAME: makes an SSD, and removes it while it reads and writes, which may not have come to its end then.
removed_in_use() {
	make_ssd "$1" size=64M || return
	in_use "$disk" >/dev/null 2>&1 &
	wait_until has_written 0 && [ -n "$(jobs -r)" ] && rmdir "$ssds/$1"
}

make_again() {
	local made=0 i

	for i in $(seq "$times"); do
		removed_in_use "again$i" || break
		wait
		made=$((made + 1))
	done
	is "made and removed in use" "$made" "$times"
}

load_again() {
	local loaded=0

	for _ in $(seq "$times"); do
		rmmod vssd || break
		wait
		load_vssd && removed_in_use last || break
		loaded=$((loaded + 1))
	done
	is "loaded and unloaded, with an SSD removed in use" "$loaded" "$times"
}

try "load the module" load_vssd || done_testing
if [ $# -gt 0 ]; then
	make_ssd one size=64M || not_ok "one that stays"
	make_again
	try "remove the first" rmdir $ssds/one
	load_again
	try "unload" rmmod vssd
	done_testing
fi
refuses "a size that is none" "nvalid" sh -c "mkdir $ssds/no && echo much >$ssds/no/size"
refuses "the module stays while there are SSDs" "in use|unavailable" rmmod vssd
rmdir "$ssds/no"

make_ssd one size=512M queues=8 || { not_ok "the stock driver takes it"; done_testing; }
ok "the stock driver takes it: $name, $(cat $ssds/one/pci)"
refuses "its size stays while it is there" "busy" sh -c "echo 1G >$ssds/one/size"
is "its size" "$(cat "/sys/block/$disk/size")" "$((512 << 11))"
for command in list "id-ctrl /dev/$name" "id-ns /dev/$disk" "list-ns /dev/$name" "smart-log /dev/$name" \
	"error-log /dev/$name" "get-feature /dev/$name -f 7" "format /dev/$disk -l 0 -f" "reset /dev/$name"; do
	# shellcheck disable=SC2086 # words
	try "nvme ${command%% *}" nvme $command
done
wait_live "$name"
try "fio, verified" fio --name=verify --filename="/dev/$disk" --size=32m --rw=randwrite --bs=4k --direct=1 \
	--ioengine=libaio --iodepth=16 --verify=crc32c
try "mkfs.xfs" mkfs.xfs -q -f "/dev/$disk"
try "mount" mount "/dev/$disk" /mnt
try "files" sh -c "cp /usr/bin/fio /usr/bin/bash /mnt && sync && cmp /usr/bin/fio /mnt/fio"
try "umount" umount /mnt
try "xfs_repair" xfs_repair -n "/dev/$disk"

# Beside the stock driver, and through resets.
try "partition" sh -c "echo 'start=64MiB' | sfdisk -q /dev/$disk"
try "mkfs.ext4" mkfs.ext4 -q -F "/dev/${disk}p1"
try "mount" mount "/dev/${disk}p1" /mnt
try "load snvme.ko" load_snvme
is "queues are spare" "$(($(count "/dev/$name" spare_sq) >= 2))" 1
before=$(pins)
fio_start /mnt
try "a user queue reads what the stock path reads" snvme verify "/dev/$disk" --offset=0 --size=8m
steady_start "/dev/$name" 100000 $((16 << 20)) $((4 << 20)) 1 || not_ok "an owner of a queue"
resets=0
for _ in $(seq 100); do
	echo 1 >"/sys/class/nvme/$name/reset_controller" && resets=$((resets + 1))
done
is "resets under load" "$resets" 100
wait_live "$name"
steady_end
is "the owner lived through them: $steady_said" "$?" 0

# A namespace beside that comes, goes, and comes back larger, while another is in use.
steady_start "/dev/$name" 100000 $((16 << 20)) $((4 << 20)) 2 1 || not_ok "an owner on the first"
first=$steady first_out=$steady_out
size_of() {
	nvme id-ns "/dev/$name" -n 2 2>/dev/null | awk '$1 == "nsze" { print $3 }'
}
for blocks in 32768 65536; do
	try "create a namespace of $blocks blocks" nvme create-ns "/dev/$name" -s $blocks -c $blocks -f 0 -m 1
	try "attach it" nvme attach-ns "/dev/$name" -n 2 -c 0
	is "its size" "$(size_of)" "$(printf '%#x' $blocks)"
	steady_start "/dev/$name" 1 0 $((4 << 20)) 3 2 || not_ok "an owner on it"
	steady_wait
	is "it works: $steady_said" "$?" 0
	try "detach it" nvme detach-ns "/dev/$name" -n 2 -c 0
	try "delete it" nvme delete-ns "/dev/$name" -n 2
done
steady=$first steady_out=$first_out
steady_end
is "the owner on the first noticed nothing: $steady_said" "$?" 0
fio_stop
given_back
try "unload snvme.ko" rmmod snvme
intact

# Another beside it; then both go while they are in use.
make_ssd two size=64M lba=4096 || not_ok "another"
is "its blocks" "$(cat "/sys/block/$disk/queue/logical_block_size")" 4096
try "fio" fio --name=verify --filename="/dev/$disk" --size=16m --rw=randwrite --bs=4k --direct=1 --verify=crc32c
make_again
try "remove the first" rmdir $ssds/one
try "remove the second" rmdir $ssds/two
load_again
try "unload" rmmod vssd
done_testing
