#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What can happen to a controller, with a file system on it in use and an owner of a queue who means to
# live through it: each data block that either wrote is looked at again. Not for 6.1: after a reset
# its driver starts its queues before it turns shadow doorbells on again, and QEMU's controller then never
# sees a second command that was cut off. That one times out in the middle of the next reset, and the
# driver gives up the disk, with snvme.ko or without.
#
# guest: --disk serial=test,port=slot1
# guest: --bar 64M
# The 6.12 driver freezes its queues in one thread and lets them go in another, which lockdep takes for a mistake.
# guest: --allow-report nvme_start_freeze|workqueue leaked atomic, lock or RCU
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

region=$((16 << 20)) length=$((8 << 20))

# owner SEED [SECONDS]: starts one who ends by itself after that time only.
owner() {
	steady_start "/dev/$name" "${2:-100000}" "$region" "$length" "$1" || { not_ok "an owner"; done_testing; }
}

# lived NAME LEAST: the owner ends, saw wrong data never, and at least so many lives.
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

prepare_bar
pci=$(basename "$(readlink -f "/sys/class/nvme/$name/device")")
fio_start /mnt 1

# --- resets, by who may ---

owner 1
again=0
for _ in 1 2 3 4 5 6 7 8 9 10; do
	echo 1 >"/sys/class/nvme/$name/reset_controller"
	steady_again && again=$((again + 1))
done
is "the owner goes on after each of 10 resets by sysfs" "$again" 10
lived "10 resets by sysfs" 10

# slow_until_reset: the disk gets so slow that the driver's own commands time out, until it resets the controller
# for that. No longer: of commands that time out again in the middle of a reset the driver dies. So its word of it is
# waited for here, with nothing to start first.
slow_until_reset() {
	local begin=$EPOCHREALTIME line='' log

	exec {log}< <(exec cat /dev/kmsg)
	echo "test: the disk is slow from $begin on" >/dev/kmsg
	until [[ $line == *"slow from $begin on" ]]; do
		read -r line <&"$log"
	done
	echo 10000 >"/sys/block/$disk/queue/io_timeout"	# milliseconds, for commands from now on
	monitor "block_set_io_throttle test 0 0 0 1 0 0"
	until [[ $line == *nvme*@(reset controller|will reset)* ]]; do
		read -r -t $patience line <&"$log" || break
	done
	monitor "block_set_io_throttle test 0 0 0 0 0 0"
	echo 300000 >"/sys/block/$disk/queue/io_timeout"
	exec {log}<&-
}

owner 2
slow_until_reset
try "the owner goes on" steady_again
lived "resets by the driver's own timeouts" 1
try "the driver said so" sh -c "dmesg | grep -q 'nvme.*timeout.*reset'"
wait_live "$name"
goes_on

# A command that lies where nobody answers: the controller fails (CSTS.CFS), and goes on for others. The
# driver looks when a command of its own takes too long.
owner 3
start p2p "/dev/$name" "/dev/$disk" "$bar/resource2" fetch || { not_ok "an owner in a BAR"; done_testing; }
bar_memory "$bar" off
kill -USR1 "$pid"
slow_until_reset
wait "$pid"
is "who made the controller fail is told of a reset" "$?" 2
bar_memory "$bar" on
try "the driver saw the controller fail" sh -c "dmesg | grep -q 'nvme.*controller is down.*CSTS=0x[2367]'"
try "the owner beside goes on" steady_again
lived "a controller that fails (CSTS.CFS)" 1
wait_live "$name"
try "and so does the stock path" goes_on

# --- CPUs ---

owner 4
went=0
for _ in 1 2 3 4 5; do
	echo 0 >/sys/devices/system/cpu/cpu1/online
	goes_on && went=$((went + 1))
	echo 1 >/sys/devices/system/cpu/cpu1/online
	goes_on && went=$((went + 1))
done
is "the stock path goes on with a CPU less, and with it again, 5 times" "$went" 10
lived "a CPU goes and comes, 5 times" 0

# --- sleep ---

owner 5
echo devices >/sys/power/pm_test
try "the machine sleeps (all devices, then back)" sh -c "echo freeze >/sys/power/state"
try "the owner goes on" steady_again
try "and once more" sh -c "echo freeze >/sys/power/state"
try "the owner goes on" steady_again
echo none >/sys/power/pm_test
wait_live "$name"
lived "sleep, twice" 2

fio_stop
given_back
intact

# --- the disk is pulled out, and put back ---

owner 6
asked=0
wait_until pulled_out test
is "the disk is gone" "$([ -e "/sys/bus/pci/devices/$pci" ] && echo there)" ""
steady_wait
is "its owner was told: $steady_said" "$?" 4
is "every pin is released" "$(pins)" "$before"
# QEMU keeps its old hold of the file where that was throttled.
monitor "drive_add 0 if=none,id=again,format=raw,file.driver=file,file.filename=disk-test.img,file.locking=off"
wait_until put_back test
try "the driver takes the disk that was put back" found_again || done_testing
owner 7 1
steady_wait
is "an owner of it: $steady_said" "$?" 0
try "fsck" e2fsck -fn "/dev/${disk}p1"

# --- shutdown, with queues and files open ---

try "mount" mount "/dev/${disk}p1" /mnt
fio_start /mnt 1
owner 8
echo "# the machine is switched off with both at work"
done_testing
