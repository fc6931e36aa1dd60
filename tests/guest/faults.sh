#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What can happen to a controller, with a file system on it in use and an owner of a queue who means to
# live through it: each data block that either wrote is looked at again.
#
# guest: --disk serial=test,port=slot1
# guest: --timeout 500
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

disk=$(disk_of test)
name=$(ctrl_of test)
pci=$(basename "$(readlink -f "/sys/class/nvme/$name/device")")
region=$((16 << 20)) length=$((8 << 20))

# lived NAME LEAST: the owner goes on, saw wrong data never, and at least so many lives.
lived() {
	local code=0

	steady_end || code=$?
	if [ "$code" -eq 0 ] && [ "$(steady_count lives)" -ge "$2" ]; then
		ok "$1: $steady_said"
	else
		not_ok "$1"
		echo "exit status $code: $steady_said" | explain
	fi
}

try "partition" sh -c "echo 'start=64MiB' | sfdisk -q /dev/$disk" || done_testing
try "load the module" load_snvme || done_testing
before=$(pins)

# The 6.1 driver starts its queues, after a reset, before it turns shadow doorbells on again: QEMU's controller
# then never sees a second command that was cut off. That one times out, half a minute later; with a
# shorter time it would do so in the middle of the next reset, and the driver would give up the disk.
loses=
[[ $(uname -r) != 6.1.* ]] || loses="the 6.1 driver loses commands after a reset"

# Two seconds for a command of the driver's, which is set when it takes a disk.
[ -n "$loses" ] || echo 2 >/sys/module/nvme_core/parameters/io_timeout
echo "$pci" >/sys/bus/pci/drivers/nvme/unbind
echo "$pci" >/sys/bus/pci/drivers/nvme/bind
name=$(ctrl_of test)
wait_live "$name"
disk=$(disk_of test)
try "mkfs" mkfs.ext4 -q -F "/dev/${disk}p1" || done_testing
try "mount" mount "/dev/${disk}p1" /mnt || done_testing
fio_start /mnt 1

# --- resets, by who may ---

steady_start "/dev/$name" 400 "$region" "$length" 1 || { not_ok "an owner"; done_testing; }
for _ in 1 2 3 4 5 6 7 8 9 10; do
	echo 1 >"/sys/class/nvme/$name/reset_controller"
	sleep 0.5
done
wait_live "$name"
lived "10 resets by sysfs" 10

# slow_until_reset: the disk gets so slow that the driver's own commands time out, until it has reset the
# controller for that.
slow_until_reset() {
	local epoch

	epoch=$(count "$disk" epoch)
	monitor "block_set_io_throttle test 0 0 0 1 0 0"
	for _ in $(seq 300); do
		[ "$(count "/dev/$name" epoch 2>/dev/null)" != "$epoch" ] && break
		sleep 0.2
	done
	monitor "block_set_io_throttle test 0 0 0 0 0 0"
	sleep 2
	wait_live "$name"
	sleep 1
}

timeouts() {
	steady_start "/dev/$name" 400 "$region" "$length" 2
	slow_until_reset
	lived "resets by the driver's own timeouts" 1
	try "the driver said so" sh -c "dmesg | grep -q 'nvme.*timeout.*reset'"
}

if [ -n "$loses" ]; then
	skip "the driver's own timeouts" "$loses"
else
	timeouts
fi

# --- CPUs ---

steady_start "/dev/$name" 400 "$region" "$length" 3
for _ in 1 2 3 4 5; do
	echo 0 >/sys/devices/system/cpu/cpu1/online
	sleep 0.3
	echo 1 >/sys/devices/system/cpu/cpu1/online
	sleep 0.3
done
lived "a CPU goes and comes, 5 times" 0

# --- sleep ---

steady_start "/dev/$name" 400 "$region" "$length" 4
echo devices >/sys/power/pm_test
try "the machine sleeps (all devices, then back)" sh -c "echo freeze >/sys/power/state"
try "and once more" sh -c "echo freeze >/sys/power/state"
echo none >/sys/power/pm_test
wait_live "$name"
sleep 1
lived "sleep, twice" 2

fio_stop
is "no queue is left" "$(count "$disk" used_sq) $(count "$disk" used_cq)" "0 0"
is "every pin is released" "$(pins)" "$before"
try "umount" umount /mnt
try "fsck" e2fsck -fn "/dev/${disk}p1"

# --- the disk is pulled out, and put back ---

steady_start "/dev/$name" 400 "$region" "$length" 5
# A guest that is just back from its sleep may not hear of it the first time.
for tries in $(seq 300); do
	[ $((tries % 100)) -ne 1 ] || monitor "device_del nvme-test"
	[ -e "/sys/bus/pci/devices/$pci" ] || break
	sleep 0.1
done
is "the disk is gone" "$([ -e "/sys/bus/pci/devices/$pci" ] && echo there)" ""
kill -0 "$steady" 2>/dev/null && sleep 1
steady_end
is "its owner was told: $steady_said" "$?" 4
is "every pin is released" "$(pins)" "$before"
# QEMU keeps its old hold of the file where that was throttled.
monitor "drive_add 0 if=none,id=again,format=raw,file.driver=file,file.filename=disk-test.img,file.locking=off"
# QEMU is done with the old one a little later than the guest.
for _ in $(seq 20); do
	monitor "device_add nvme,drive=again,id=nvme-again,serial=test,bus=slot1,max_ioqpairs=64"
	sleep 1
	[ -e "/sys/bus/pci/devices/$pci" ] && break
done
name=$(ctrl_of test)
wait_live "$name"
disk=$(disk_of test)
steady_start "/dev/$name" 400 "$region" "$length" 6
sleep 1
lived "an owner of the disk that was put back" 0
try "fsck" e2fsck -fn "/dev/${disk}p1"

# --- shutdown, with queues and files open ---

try "mount" mount "/dev/${disk}p1" /mnt
fio_start /mnt 1
steady_start "/dev/$name" 400 "$region" "$length" 7 || not_ok "an owner"
echo "# the machine is switched off with both at work"
done_testing
