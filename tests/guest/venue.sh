#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The venue itself: the kernel asked for, its root on a disk of the stock driver, and a second disk
# that keeps a file system whole under load.
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"

echo "# kernel $(uname -r)"
root=$(disk_of root)
disk=$(disk_of test)

is "the root file system is on the disk with serial root" "$(findmnt -no SOURCE /)" "/dev/$root"
for serial in root test; do
	pci=/sys/class/nvme/$(ctrl_of $serial)/device
	is "the stock driver runs $serial" "$(basename "$(readlink -f "$pci/driver")")" nvme
	if grep -q intel_iommu=on /proc/cmdline; then
		is "the IOMMU translates for $serial, strictly" "$(cat "$pci/iommu_group/type")" DMA
	else
		is "no IOMMU" "$(ls /sys/kernel/iommu_groups)" ""
	fi
done
refuses "a file where there is none" "No such file or directory" cat /nonexistent
try "mkfs" mkfs.ext4 -q "/dev/$disk" || done_testing
try "mount" mount "/dev/$disk" /mnt || done_testing
try "fio verifies" fio --name=verify --directory=/mnt --size=32m --rw=randrw --bs=4k \
	--ioengine=libaio --direct=1 --iodepth=8 --verify=crc32c --time_based --runtime=5
try "umount" umount /mnt
try "fsck" e2fsck -fn "/dev/$disk"
done_testing
