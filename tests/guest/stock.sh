#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What administrators and programs do with a disk, all of it while a user queue works on the same controller and
# verifies what it wrote: nvme-cli, fio by each of its ways, blkdiscard, mkfs, the schedulers, partitions, hotplug.
#
# guest: --no-nvme-root
# guest: --disk serial=test,second=512M
# guest: --disk serial=plug,port=slot1,size=64M
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

# The driver anew, with a queue for polling: hipri.
disk_of test >/dev/null
rmmod nvme && insmod /stock/nvme.ko poll_queues=1 || not_ok "the driver with a queue to poll"
resets_ahead
prepare
second=$(disk_of test 2)
is "queues to poll" "$(grep -c . "/sys/block/$disk/queue/io_poll") $(cat "/sys/block/$disk/queue/io_poll")" "1 1"
steady_start "/dev/$name" 100000 $((16 << 20)) $((8 << 20)) 1 1 || { not_ok "an owner"; done_testing; }
alone=$steady

# beside NAME COMMAND...: it works, and the owner goes on.
beside() {
	try "$@"
	kill -0 "$alone" 2>/dev/null || { not_ok "the owner is still there"; done_testing; }
}

beside "nvme list" sh -c "nvme list | grep -a -q /dev/$disk"
beside "nvme list-subsys" nvme list-subsys
beside "nvme id-ctrl" nvme id-ctrl "/dev/$name"
beside "nvme id-ns" nvme id-ns "/dev/$disk"
beside "nvme list-ns" nvme list-ns "/dev/$name"
beside "nvme smart-log" nvme smart-log "/dev/$name"
beside "nvme error-log" nvme error-log "/dev/$name"
beside "nvme fw-log" nvme fw-log "/dev/$name"
beside "nvme effects-log" nvme effects-log "/dev/$name"
beside "nvme get-feature, number of queues" nvme get-feature "/dev/$name" -f 7
beside "nvme get-feature, temperature" nvme get-feature "/dev/$name" -f 4
beside "nvme set-feature, temperature" nvme set-feature "/dev/$name" -f 4 -v 0x140
is "it is set" "$(nvme get-feature "/dev/$name" -f 4 | grep -o '0x0*140$')" "$(nvme get-feature "/dev/$name" -f 4 | grep -o '0x[0-9a-f]*$')"
beside "nvme flush" nvme flush "/dev/$disk" -n 1
beside "nvme read" sh -c "nvme read /dev/$disk -s 0 -c 7 -z 4096 >/dev/null"
beside "nvme write-zeroes" nvme write-zeroes "/dev/$second" -s 0 -c 7
beside "nvme dsm" nvme dsm "/dev/$second" -d 1 -s 0 -b 8
beside "nvme format of the other namespace" nvme format "/dev/$second" -n 2 -l 0 -f
beside "nvme ns-rescan" nvme ns-rescan "/dev/$name"

fio_by() {
	fio --name=by --filename="$1" --size=8m --rw=randwrite --bs=4k --direct=1 --iodepth=8 --verify=crc32c \
		--verify_fatal=1 "${@:2}"
}
beside "fio by libaio" fio_by "/dev/$second" --ioengine=libaio
beside "fio by io_uring" fio_by "/dev/$second" --ioengine=io_uring
beside "fio by io_uring, polled" fio_by "/dev/$second" --ioengine=io_uring --hipri
beside "fio by io_uring, polled, fixed buffers and files" fio_by "/dev/$second" --ioengine=io_uring --hipri --fixedbufs \
	--registerfiles
beside "fio by pvsync2, polled" fio_by "/dev/$second" --ioengine=pvsync2 --hipri --iodepth=1
beside "fio on the file system beside it" fio_by /mnt/fio --ioengine=libaio
# Of a disk that the driver takes for one of several paths, the path has the queue: nvme0c0n1 of nvme0n1.
queue=$(echo "/sys/block/${disk%n*}"c*"n${disk##*n}/queue")
[ -e "$queue" ] || queue=/sys/block/$disk/queue
schedulers=$(tr -d '[]' <"$queue/scheduler")
is "there are schedulers besides none: $schedulers" "$(($(echo "$schedulers" | wc -w) > 1))" 1
for scheduler in $schedulers none; do
	beside "scheduler $scheduler" sh -c "echo $scheduler >$queue/scheduler && grep -q '\[$scheduler\]' $queue/scheduler"
	beside "and fio on it" fio_by /mnt/fio --ioengine=libaio
done
beside "blkdiscard" blkdiscard "/dev/$second"
beside "mkfs.xfs" mkfs.xfs -q -f "/dev/$second"
beside "mkfs.ext4" mkfs.ext4 -q -F "/dev/$second"
mkdir -p /tmp/second
beside "mount" mount "/dev/$second" /tmp/second
beside "files" sh -c "cp /usr/bin/fio /tmp/second/ && sync && cmp /usr/bin/fio /tmp/second/fio"
beside "fstrim" fstrim /tmp/second
beside "umount" umount /tmp/second
beside "a partition table" sh -c "echo 'size=100MiB' | sfdisk -q --no-reread /dev/$second"
beside "which is read" blockdev --rereadpt "/dev/$second"
wait_until [ -b "/dev/${second}p1" ]
is "the partition is there" "$(cat "/sys/block/$second/${second}p1/size" 2>/dev/null)" "$((100 << 11))"
beside "it is read again beside a mounted one" sh -c "blockdev --rereadpt /dev/$disk 2>&1 | grep -q busy"

# Another disk comes and goes.
plug=$(ctrl_of plug)
pci=$(cat "/sys/class/nvme/$plug/address")
asked=0
wait_until pulled_out plug
is "another disk is pulled out" "$(ls -d "/sys/bus/pci/devices/$pci" 2>/dev/null)" ""
monitor "drive_add 0 if=none,id=again,format=raw,file.driver=file,file.filename=disk-plug.img,file.locking=off"
beside "and put back" wait_until put_back plug
beside "it works" sh -c "head -c 1048576 /dev/urandom >/dev/$(disk_of plug)"

beside "nvme reset" nvme reset "/dev/$name"
wait_live "$name"
try "the owner lives on" steady_again
steady_end
is "he saw nothing wrong: $steady_said" "$?" 0
given_back
intact
try "unload the module" rmmod snvme
done_testing
