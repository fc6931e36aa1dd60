#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Rings, PRP lists and data in the memory of another PCI device, which goes away at any moment, while
# the file system on the same disk is in use. QEMU's ivshmem plays the GPU.
#
# guest: --bar 64M
# guest: --disk serial=apart,complex=64
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

resets_ahead
prepare_bar
fio_start /mnt 1
try "rings, lists and data in a BAR" sh -c \
	"p2p /dev/$name /dev/$disk $bar/resource2 >/run/p2p.log 2>&1 || { cat /run/p2p.log; exit 1; }"
grep -i -e skip -e '^1[.][.]' /run/p2p.log | explain
wait_live "$name"
fio_stop
given_back
intact

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
bar_memory "$bar" off
is "a BAR that is switched off" "$(reaches "$name" "$disk")" "Remote I/O error"
try "the log says why" sh -c "dmesg | grep -q 'no path to the memory.*switched off'"
bar_memory "$bar" on
is "and on again" "$(reaches "$name" "$disk")" "all bytes came back"

# The driver lets go of the disk, with the BAR in use.
pci=$(basename "$(readlink -f "/sys/class/nvme/$name/device")")
start p2p "/dev/$name" "/dev/$disk" "$bar/resource2" hold ||
	{ not_ok "a process reads into the BAR"; done_testing; }
refuses "the exporter stays meanwhile" "in use|unavailable" rmmod bar_dmabuf
try "unbind" sh -c "echo $pci >/sys/bus/pci/drivers/nvme/unbind"
wait "$pid"
is "the process is told: gone" "$?" 3
is "every pin is released" "$(pins)" "$before"
try "no dma-buf is left: the exporter goes" rmmod bar_dmabuf
try "unload the module" rmmod snvme
done_testing
