#!/bin/bash
# SPDX-License-Identifier: MIT
#
# fuzz_ioctl.sh [COUNT [SEED]]: valid and mutated calls of the kernel ABI, with memory of the host and
# of another PCI device, while the file system on the same disk is in use. QEMU's ivshmem plays the
# other device.
#
# guest: --bar 64M
# guest: --timeout 300
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

disk=$(disk_of test)
name=$(ctrl_of test)
bar=$(bar_device) || { not_ok "there is a device with a BAR"; done_testing; }

# What a call that should not have been possible would write at the disk's start is not the file
# system's.
try "partition" sh -c "echo 'start=64MiB' | sfdisk -q /dev/$disk" || done_testing
try "mkfs" mkfs.ext4 -q -F "/dev/${disk}p1" || done_testing
try "mount" mount "/dev/${disk}p1" /mnt || done_testing
try "load the module" load_snvme || done_testing
try "load the exporter" insmod "/lib/modules/$(uname -r)/bar_dmabuf.ko" || done_testing
before=$(pins)
spare=$(count "$disk" spare_sq)
fio_start /mnt 1

# Not by try: a long run shows how far it is.
echo "test: fuzz" >/dev/kmsg
fuzz_ioctl "/dev/$name" "${1:-20000}" "${2:-1}" "$bar/resource2" 2>&1 | explain
is "every call did what the interface says" "${PIPESTATUS[0]}" 0

fio_stop
is "no queue is left" "$(count "$disk" used_sq) $(count "$disk" used_cq)" "0 0"
is "the pool is whole" "$(count "$disk" spare_sq)" "$spare"
is "every pin is released" "$(pins)" "$before"
try "no dma-buf is left: the exporter goes" rmmod bar_dmabuf
try "unload the module" rmmod snvme
try "umount" umount /mnt
try "fsck" e2fsck -fn "/dev/${disk}p1"
done_testing
