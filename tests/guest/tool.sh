#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The snvme tool on real disks: on the mounted root file system, beside a file system under load,
# on a controller that granted no spare queue, and what it refuses.
#
# guest: --disk serial=few,max_ioqpairs=2
# guest: --disk serial=block4k,logical_block_size=4096,physical_block_size=4096
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

disk=$(disk_of test)
root=$(disk_of root)
few=$(disk_of few)
big=$(disk_of block4k)

refuses "no module" "snvme.ko is not loaded" snvme info "/dev/$disk"
try "load the module" load_snvme || done_testing
try "list" snvme list
snvme list | explain
try "info" snvme info "/dev/$root"
refuses "no such device" "snvme: .*" snvme info /dev/nvme77
refuses "not root" "snvme: .*" setpriv --reuid 1000 --clear-groups snvme info "/dev/$disk"
refuses "no CAP_SYS_RAWIO" "snvme: .*" setpriv --bounding-set -sys_rawio snvme info "/dev/$disk"

# The root file system's own disk, mounted and in use.
while_written() {
	local writer tries

	while date >/root/written && sync; do sleep 0.05; done &
	writer=$!
	for ((tries = 0; tries < 20; tries++)); do
		"$@" || break
	done
	kill "$writer"
	wait "$writer" 2>/dev/null
	[ "$tries" -eq 20 ]
}
try "the root disk through a queue of our own" while_written snvme verify "/dev/$root" --size=8m
sync
try "files of the root file system by their extents" snvme verify /usr/bin
try "extents" snvme files /usr/bin/fio
refuses "writing to a mounted disk" "snvme: .*(mounted|in use)" \
	snvme write "/dev/$root" --offset=0 --size=4096 --input=/dev/zero

# Bytes written through one path, read through the other.
fio --name=fill --filename="/dev/$disk" --size=8m --rw=write --bs=64k --direct=1 >/dev/null
try "what the kernel wrote" snvme verify "/dev/$disk" --size=8m
head -c 3145728 /dev/urandom >/tmp/random
try "write through a queue of our own" \
	snvme write "/dev/$disk" --offset=1m --size=3m --input=/tmp/random
dd if="/dev/$disk" of=/tmp/back bs=1M skip=1 count=3 iflag=direct status=none
try "the kernel reads the same" cmp /tmp/random /tmp/back
try "read it back" snvme read "/dev/$disk" --offset=1m --size=3m -O /tmp/back2
try "the same" cmp /tmp/random /tmp/back2
refuses "a size that is no multiple of a block" "snvme: .*" snvme read "/dev/$disk" --size=100 -O /tmp/x
refuses "past the end" "snvme: .*" snvme read "/dev/$disk" --offset=2g --size=4k -O /tmp/x
bench() {
	snvme bench "/dev/$disk" --bs=4k --iodepth=32 --numjobs=2 --offset=64m --size=64m --verify=lba "$@"
}
refuses "blocks that nobody wrote" "wrong data" bench --rw=read
try "bench write with verification" bench --rw=write
for rw in randread randwrite randrw read; do
	try "bench $rw with verification" bench --rw=$rw --runtime=1
done
try "128 KiB" snvme bench "/dev/$disk" --rw=write --bs=128k --iodepth=4 --size=64m --runtime=1 --verify=lba
try "4,096-byte blocks" snvme bench "/dev/$big" --rw=randwrite --bs=8k --iodepth=7 --size=64m \
	--runtime=1 --verify=lba
refuses "half a 4,096-byte block" "snvme: .*" snvme read "/dev/$big" --size=512 -O /tmp/x

# A file system under load, and files on it by their extents.
try "mkfs" mkfs.ext4 -q -F "/dev/$disk" || done_testing
try "mount" mount "/dev/$disk" /mnt || done_testing
cp -a /usr/bin /mnt/tree
(cd /usr/bin && find . -type f -exec sha256sum {} +) >/tmp/sums
dd if=/dev/zero of=/mnt/prealloc bs=1M count=32 conv=fsync status=none
sync
fio_start /mnt
try "files against the originals' SHA-256" snvme verify --sums=/tmp/sums /mnt/tree
refuses "writing a mounted file" "snvme: .*--force" snvme bench --file=/mnt/prealloc --rw=randwrite \
	--bs=4k --runtime=1
try "a preallocated file, written and verified" snvme bench --file=/mnt/prealloc --rw=randwrite \
	--bs=4k --iodepth=16 --runtime=2 --verify=lba --force
fio_stop
fallocate -l 8m /mnt/unwritten
refuses "unwritten extents" "snvme: .*" snvme bench --file=/mnt/unwritten --rw=write --bs=4k --force \
	--runtime=1
try "umount" umount /mnt
try "fsck" e2fsck -fn "/dev/$disk"

# A controller that granted the driver's queues and no more.
is "none spare" "$(count "$few" spare_sq)" 0
refuses "no spare queue" "snvme: .*spare" snvme bench "/dev/$few" --rw=read --bs=4k --size=1m
try "its stock path is untouched" fio --name=few --filename="/dev/$few" --size=8m --rw=randwrite \
	--bs=4k --direct=1 --verify=crc32c
try "unload the module" rmmod snvme
done_testing
