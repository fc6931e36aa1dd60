#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Rings, PRP lists and data in memory that is given by its address in an NVIDIA GPU, while the file system on
# the same disk is in use: snvme.ko built with NVIDIA_P2P=. fake_nvidia.ko plays NVIDIA's driver, with
# QEMU's ivshmem for a GPU; the real driver has not been tried.
#
# guest: --bar 64M
# guest: --timeout 300
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

disk=$(disk_of test)
name=$(ctrl_of test)
modules=/lib/modules/$(uname -r)
bar=
for device in /sys/bus/pci/devices/*; do
	[ "$(cat "$device/vendor" "$device/device")" = $'0x1af4\n0x1110' ] && bar=$device
done
[ -n "$bar" ] || { not_ok "there is a device with a BAR"; done_testing; }
echo 1 >"$bar/enable"

# The file system lies behind what the test writes.
try "partition" sh -c "echo 'start=64MiB' | sfdisk -q /dev/$disk" || done_testing
try "mkfs" mkfs.ext4 -q -F "/dev/${disk}p1" || done_testing
try "mount" mount "/dev/${disk}p1" /mnt || done_testing
refuses "the module needs the GPU's driver" "nknown symbol" insmod "$modules/snvme-nvidia.ko"
try "load the GPU's driver" insmod "$modules/fake_nvidia.ko" || done_testing
try "load the module" insmod "$modules/snvme-nvidia.ko" || done_testing
before=$(pins)
fio_start /mnt 1
try "rings, lists and data by address" sh -c \
	"p2p nvidia /dev/$name /dev/$disk $bar/resource2 >/run/p2p.log 2>&1 || { cat /run/p2p.log; exit 1; }"
grep -i -e skip -e '^1[.][.]' /run/p2p.log | explain
until [ "$(cat "/sys/class/nvme/$name/state" 2>/dev/null)" = live ]; do sleep 0.1; done
fio_stop
is "no queue is left" "$(count "$disk" used_sq) $(count "$disk" used_cq)" "0 0"
is "every pin is released" "$(pins)" "$before"
try "umount" umount /mnt
try "fsck" e2fsck -fn "/dev/${disk}p1"

# A BAR that is switched off is out of reach.
printf '\0' | dd of="$bar/config" bs=1 seek=4 conv=notrunc 2>/dev/null
is "a BAR that is switched off" \
	"$(p2p nvidia "/dev/$name" "/dev/$disk" "$bar/resource2" reach)" "Remote I/O error"
printf '\7' | dd of="$bar/config" bs=1 seek=4 conv=notrunc 2>/dev/null
is "and on again" \
	"$(p2p nvidia "/dev/$name" "/dev/$disk" "$bar/resource2" reach)" "all bytes came back"

# The driver lets go of the disk, with the memory in use.
pci=$(basename "$(readlink -f "/sys/class/nvme/$name/device")")
exec {out}< <(exec p2p nvidia "/dev/$name" "/dev/$disk" "$bar/resource2" hold)
holder=$!
read -r -t 60 line <&"$out"
is "a process reads into the memory" "$line" started
try "unbind" sh -c "echo $pci >/sys/bus/pci/drivers/nvme/unbind"
wait "$holder"
is "the process is told: gone" "$?" 3
is "every pin is released" "$(pins)" "$before"
try "unload the module" rmmod snvme
# It complains in the log about what has not been given back.
try "unload the GPU's driver" rmmod fake_nvidia
done_testing
