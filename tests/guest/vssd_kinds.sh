#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What an SSD of vssd.ko's can be besides plain memory: zones, a file, memory that Linux does not have, several
# threads; the machine's IOMMU; and what is refused, with a word about why.
#
# guest: --append memmap=64M$0x60000000
# The 6.12 driver freezes its queues in one thread and lets them go in another, which lockdep takes for a mistake.
# guest: --allow-report nvme_start_freeze|workqueue leaked atomic, lock or RCU
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

# make TEST NAME SETTING=VALUE...: a result, and in this shell, which wants $name and $disk.
make() {
	if make_ssd "${@:2}"; then
		ok "$1"
	else
		not_ok "$1"
		dmesg | tail -n 3 | explain
	fi
}

# drop_ssd NAME
drop_ssd() {
	rmdir "$ssds/$1"
}

# rejects NAME REGEX SETTING=VALUE...: an SSD with these is not made, and the log says why.
rejects() {
	local what=$1 regex=$2 code=0

	shift 2
	dmesg -c >/dev/null
	make_ssd bad "$@" 2>/dev/null || code=$?
	[ "$code" -ne 0 ] || echo "# $what: it was made"
	is "refused: $what" "$(dmesg | grep -c "vssd bad: .*$regex")" 1
	drop_ssd bad
}

fio_verify() {
	fio --name=verify --filename="/dev/$disk" --size=8m --bs=4k --direct=1 --ioengine=libaio --iodepth=16 \
		--verify=crc32c --verify_fatal=1 "$@"
}

try "load the module" load_vssd || done_testing

# ---- what cannot be ----
mkdir $ssds/bad
refuses "a path from nowhere" "nvalid" sh -c "echo some/file >$ssds/bad/file"
refuses "memory amid a page" "nvalid" sh -c "echo '1000\$0x60000000' >$ssds/bad/memmap"
refuses "memory without a place" "nvalid" sh -c "echo 64M >$ssds/bad/memmap"
refuses "no threads" "range" sh -c "echo 0 >$ssds/bad/threads"
refuses "more queues than there are vectors" "range" sh -c "echo 256 >$ssds/bad/queues"
refuses "a name longer than a serial number" "too long" mkdir $ssds/123456789012345678901
drop_ssd bad
truncate -s 64M /tmp/file
rejects "two places to keep it" "either" file=/tmp/file 'memmap=64M$0x60000000'
rejects "no file" "error -2" file=/tmp/none
rejects "what is no file" "error -2[12]" file=/tmp
rejects "more than the file has" "only 67108864 bytes" file=/tmp/file size=65M
rejects "zones in a file" "in memory" file=/tmp/file zone_size=8M
rejects "limits of zones without zones" "need zone_size" max_open=4
rejects "zones larger than the SSD" "with such zones" size=16M zone_size=32M
rejects "blocks of 1,000 bytes" "lba must be" lba=1000
rejects "zones that are no whole blocks" "multiples" lba=4096 zone_size=1000000
rejects "Linux's own memory" "not reserved" 'memmap=16M$0x10000000'
rejects "memory of which only a part is reserved" "not reserved" 'memmap=128M$0x60000000'
rejects "where there is none" "not reserved" 'memmap=16M$0x1000000000'
rejects "a device's memory" "not reserved" "memmap=8K\$$(cut -d ' ' -f 1 "/sys/class/nvme/$(ctrl_of test)/device/resource" | head -n 1)"
rejects "a disk that is mounted" "error -16" "file=/dev/$(disk_of root)"

# ---- zones ----
make "make one with zones" zoned size=64M lba=4096 zone_size=8M zone_capacity=6M max_open=3 max_active=5
is "the kernel knows it as zoned" "$(cat "/sys/block/$disk/queue/zoned")" host-managed
is "its zones" "$(cat "/sys/block/$disk/queue/nr_zones")" 8
is "how many may be open" "$(cat "/sys/block/$disk/queue/max_open_zones")" 3
try "nvme zns id-ctrl" nvme zns id-ctrl "/dev/$name"
try "nvme zns id-ns" nvme zns id-ns "/dev/$disk"
try "write at a write pointer" dd if=/dev/urandom of="/dev/$disk" bs=64k count=4 oflag=direct
refuses "a write past it" "error" dd if=/dev/urandom of="/dev/$disk" bs=64k seek=64 count=1 oflag=direct
nvme zns report-zones "/dev/$disk" >/tmp/zones 2>&1
is "nvme zns report-zones" "$(grep -c '^SLBA' /tmp/zones)" 8
is "its write pointer, and no other" "$(grep '^SLBA' /tmp/zones | grep -c 'WP: 0x40 ')" 1
try "nvme zns reset-zone" nvme zns reset-zone "/dev/$disk" -s 0
# On one processor: a writer that comes to another amid its writes comes to another queue, and there is no order
# between queues. Linux before 6.10 keeps one with the scheduler mq-deadline only, which not every kernel has.
try "fio on zones, verified" fio_verify --cpus_allowed=0 --zonemode=zbd --rw=randwrite --max_open_zones=3
try "nvme reset" nvme reset "/dev/$name"
wait_live "$name"
is "zones after it" "$(nvme zns report-zones "/dev/$disk" 2>/dev/null | grep -c '^SLBA')" 8
drop_ssd zoned

# ---- a file, on a file system that is on another ----
make "make one of several threads" below size=512M threads=4
is "no function level reset is offered" "$(cd "/sys/bus/pci/devices/$(cat $ssds/below/pci)" && grep -s flr reset_method)" ""
try "the function's folder" test -e "/sys/bus/pci/devices/$(cat $ssds/below/pci)/config"
try "fio with four jobs on it, verified" fio_verify --rw=randwrite --size=4m --numjobs=4 --offset_increment=4m
try "mkfs.xfs" mkfs.xfs -q -f "/dev/$disk"
try "mount" mount "/dev/$disk" /mnt
truncate -s 256M /mnt/file
make "make one in a file" filed file=/mnt/file threads=2
is "as large as the file" "$(cat "/sys/block/$disk/size")" "$((256 << 11))"
is "it has a write cache" "$(cat "/sys/block/$disk/queue/write_cache")" "write back"
rejects "a file that another has" "it is in use" file=/mnt/file
try "fio, synced and verified" fio_verify --size=4m --rw=randwrite --fsync=64
try "mkfs.ext4" mkfs.ext4 -q -F "/dev/$disk"
mkdir /tmp/top
try "mount" mount "/dev/$disk" /tmp/top
try "files" sh -c "cp /usr/bin/fio /tmp/top/ && sync"
try "umount" umount /tmp/top
drop_ssd filed
make "and made again" filed file=/mnt/file size=128M queues=4 size=0
try "mount" mount "/dev/$disk" /tmp/top
try "the files are there" cmp /usr/bin/fio /tmp/top/fio
try "umount" umount /tmp/top
used=$(du -k /mnt/file | cut -f 1)
try "deallocate all" nvme format "/dev/$disk" -l 0 -f
is "the file has become smaller" "$(($(du -k /mnt/file | cut -f 1) < used))" 1
is "and is zeros" "$(head -c 16M "/dev/$disk" | tr -d '\0' | wc -c)" 0
drop_ssd filed
make "a block device is one, too" device "file=/dev/$(disk_of test)" threads=2
try "fio on it" fio_verify --rw=randwrite
drop_ssd device
try "umount" umount /mnt
drop_ssd below

# ---- memory that Linux does not have ----
make "make one in reserved memory" kept 'memmap=64M$0x60000000' threads=2
is "as large as that" "$(cat "/sys/block/$disk/size")" "$((64 << 11))"
rejects "memory that another has" "it is in use" 'memmap=32M$0x61000000'
try "mkfs.ext4" mkfs.ext4 -q -F "/dev/$disk"
try "mount" mount "/dev/$disk" /mnt
try "files" cp /usr/bin/fio /mnt/
try "umount" umount /mnt
drop_ssd kept
rmmod vssd && load_vssd
make "the module is loaded anew, the SSD made again" kept 'memmap=64M$0x60000000'
try "mount" mount "/dev/$disk" /mnt
try "the files are there" cmp /usr/bin/fio /mnt/fio
try "umount" umount /mnt
drop_ssd kept

# ---- behind the machine's IOMMU, if it has one ----
domain_of() {
	cat "/sys/bus/pci/devices/$(cat "$ssds/$1/pci")/iommu_group/type" 2>/dev/null
}
make "make one" behind size=512M threads=2
group=$(domain_of behind)
want=$(grep -q intel_iommu=on /proc/cmdline && echo DMA)
is "its IOMMU domain: ${group:-none}" "$group" "$want"
try "fio, verified" fio_verify --rw=randwrite --bsrange=4k-128k
try "partition" sh -c "echo 'start=64MiB' | sfdisk -q /dev/$disk"
try "mkfs.ext4" mkfs.ext4 -q -F "/dev/${disk}p1"
try "mount" mount "/dev/${disk}p1" /mnt
try "load snvme.ko" load_snvme
before=$(pins)
fio_start /mnt
steady_start "/dev/$name" 100000 $((16 << 20)) $((4 << 20)) 1 || not_ok "an owner of a queue"
resets=0
for _ in $(seq 10); do
	echo 1 >"/sys/class/nvme/$name/reset_controller" && resets=$((resets + 1))
	goes_on
done
is "resets under load" "$resets" 10
steady_end
is "the owner lived through them: $steady_said" "$?" 0
fio_stop
given_back
echo devices >/sys/power/pm_test
try "the machine sleeps (all devices, then back)" sh -c "echo freeze >/sys/power/state"
echo none >/sys/power/pm_test
wait_live "$name"
try "the file system after it" sh -c "cp /usr/bin/fio /mnt/ && sync && cmp /usr/bin/fio /mnt/fio"
try "unload snvme.ko" rmmod snvme
intact

# ---- the PCI core's own ways ----
dmesg -c >/dev/null
try "functions are looked for again" sh -c "echo 1 >/sys/bus/pci/rescan"
is "nothing is wrong with ours" "$(dmesg | grep -c "$(cat $ssds/behind/pci)")" 0
try "it is removed behind our back" sh -c "echo 1 >/sys/bus/pci/devices/$(cat $ssds/behind/pci)/remove"
try "switched off" sh -c "echo 0 >$ssds/behind/enable"
drop_ssd behind
make "and made again" behind size=512M threads=2

# ---- several, one goes while another works ----
fio_verify --rw=randwrite --time_based --runtime=5 >/tmp/fio.out 2>&1 &
worker=$!
made=0
for i in 1 2 3 4 5; do
	make_ssd "beside$i" size=64M threads=2 && [ "$(domain_of "beside$i")" = "$want" ] &&
		head -c 1M /dev/urandom >"/dev/$disk" && sync && drop_ssd "beside$i" && made=$((made + 1))
done
is "others came and went, with domains of the IOMMU of their own" "$made" 5
wait $worker
is "and it worked on, verified" "$?" 0
drop_ssd behind
try "unload" rmmod vssd
done_testing
