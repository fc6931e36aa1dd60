#!/bin/bash
# SPDX-License-Identifier: MIT
#
# fuzz_ioctl.sh [COUNT [SEED]]: valid and mutated calls of the kernel ABI, with memory of the host and
# of another PCI device, while the file system on the same disk is in use. QEMU's ivshmem plays the
# other device.
#
# guest: --bar 64M
# A kernel that takes no 32-bit calls ends a child that tries one.
# guest: --allow traps: fuzz_ioctl
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

prepare_bar
spare=$(count "$disk" spare_sq)
fio_start /mnt 1

# Not by try: a long run shows how far it is.
echo "test: fuzz" >/dev/kmsg
fuzz_ioctl "/dev/$name" "${1:-20000}" "${2:-1}" "$bar/resource2" 2>&1 | explain
is "every call did what the interface says" "${PIPESTATUS[0]}" 0

fio_stop
given_back
is "the pool is whole" "$(count "$disk" spare_sq)" "$spare"
try "no dma-buf is left: the exporter goes" rmmod bar_dmabuf
try "unload the module" rmmod snvme
intact
done_testing
