#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Rings, PRP lists and data in memory that is given by its address in an NVIDIA GPU, while the file system on
# the same disk is in use: snvme.ko built with NVIDIA_P2P=. fake_nvidia.ko plays NVIDIA's driver, with
# QEMU's ivshmem for a GPU; the real driver has not been tried.
#
# guest: --bar 64M
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

modules=/lib/modules/$(uname -r)
bar=$(bar_device) || { not_ok "there is a device with a BAR"; done_testing; }
refuses "the module needs the GPU's driver" "nknown symbol" insmod "$modules/snvme-nvidia.ko"
try "load the GPU's driver" insmod "$modules/fake_nvidia.ko" || done_testing
resets_ahead
prepare insmod "$modules/snvme-nvidia.ko"
fio_start /mnt 1
try "rings, lists and data by address" sh -c \
	"p2p nvidia /dev/$name /dev/$disk $bar/resource2 >/run/p2p.log 2>&1 || { cat /run/p2p.log; exit 1; }"
grep -i -e skip -e '^1[.][.]' /run/p2p.log | explain
wait_live "$name"
fio_stop
given_back
intact

# A BAR that is switched off is out of reach.
bar_memory "$bar" off
is "a BAR that is switched off" \
	"$(p2p nvidia "/dev/$name" "/dev/$disk" "$bar/resource2" reach)" "Remote I/O error"
bar_memory "$bar" on
is "and on again" \
	"$(p2p nvidia "/dev/$name" "/dev/$disk" "$bar/resource2" reach)" "all bytes came back"

# The driver lets go of the disk, with the memory in use.
pci=$(basename "$(readlink -f "/sys/class/nvme/$name/device")")
start p2p nvidia "/dev/$name" "/dev/$disk" "$bar/resource2" hold ||
	{ not_ok "a process reads into the memory"; done_testing; }
try "unbind" sh -c "echo $pci >/sys/bus/pci/drivers/nvme/unbind"
wait "$pid"
is "the process is told: gone" "$?" 3
is "every pin is released" "$(pins)" "$before"
try "unload the module" rmmod snvme
# It complains in the log about what has not been given back.
try "unload the GPU's driver" rmmod fake_nvidia
done_testing
