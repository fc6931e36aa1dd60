#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Rings, PRP lists and data in the memory of another PCI device, which goes away at any moment, while
# the file system on the same disk is in use. QEMU's ivshmem plays the GPU.
#
# guest: --bar 64M
# guest: --disk serial=apart,complex=64
# guest: --timeout 300
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

disk=$(disk_of test)
name=$(ctrl_of test)
bar=$(bar_device) || { not_ok "there is a device with a BAR"; done_testing; }

# The file system lies behind what the test writes.
try "partition" sh -c "echo 'start=64MiB' | sfdisk -q /dev/$disk" || done_testing
try "mkfs" mkfs.ext4 -q -F "/dev/${disk}p1" || done_testing
try "mount" mount "/dev/${disk}p1" /mnt || done_testing
try "load the module" load_snvme || done_testing
try "load the exporter" insmod "/lib/modules/$(uname -r)/bar_dmabuf.ko" || done_testing
before=$(pins)
fio_start /mnt 1
try "rings, lists and data in a BAR" sh -c \
	"p2p /dev/$name /dev/$disk $bar/resource2 >/run/p2p.log 2>&1 || { cat /run/p2p.log; exit 1; }"
grep -i -e skip -e '^1[.][.]' /run/p2p.log | explain
wait_live "$name"
fio_stop
is "no queue is left" "$(count "$disk" used_sq) $(count "$disk" used_cq)" "0 0"
is "every pin is released" "$(pins)" "$before"
try "umount" umount /mnt
try "fsck" e2fsck -fn "/dev/${disk}p1"

# A controller that the BAR is out of reach of is not let near it.
reaches() {
	p2p "/dev/$1" "/dev/$2" "$bar/resource2" reach
}
apart=$(ctrl_of apart)
is "the BAR is below the same root complex" "$(reaches "$name" "$disk")" "all bytes came back"
is "and not below that of another disk" "$(reaches "$apart" "$(disk_of apart)")" "Remote I/O error"
try "the log says why" sh -c "dmesg | grep -q 'no path to the memory.*another root complex'"
echo 1 >/sys/module/snvme/parameters/p2p_any_path
is "the administrator knows better" "$(reaches "$apart" "$(disk_of apart)")" "all bytes came back"
echo 0 >/sys/module/snvme/parameters/p2p_any_path
printf '\0' | dd of="$bar/config" bs=1 seek=4 conv=notrunc 2>/dev/null
is "a BAR that is switched off" "$(reaches "$name" "$disk")" "Remote I/O error"
try "the log says why" sh -c "dmesg | grep -q 'no path to the memory.*switched off'"
printf '\7' | dd of="$bar/config" bs=1 seek=4 conv=notrunc 2>/dev/null
is "and on again" "$(reaches "$name" "$disk")" "all bytes came back"

# The driver lets go of the disk, with the BAR in use.
pci=$(basename "$(readlink -f "/sys/class/nvme/$name/device")")
exec {out}< <(exec p2p "/dev/$name" "/dev/$disk" "$bar/resource2" hold)
holder=$!
read -r -t 60 line <&"$out"
is "a process reads into the BAR" "$line" started
refuses "the exporter stays meanwhile" "in use|unavailable" rmmod bar_dmabuf
try "unbind" sh -c "echo $pci >/sys/bus/pci/drivers/nvme/unbind"
wait "$holder"
is "the process is told: gone" "$?" 3
is "every pin is released" "$(pins)" "$before"
try "no dma-buf is left: the exporter goes" rmmod bar_dmabuf
try "unload the module" rmmod snvme
done_testing
