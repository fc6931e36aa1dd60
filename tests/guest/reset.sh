#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The stock driver resets the controller, or lets go of it, with queues of ours open and busy: who
# waits is told, the file system loses nothing, no memory is released too early.
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

has_queue() {
	[ "$(count "/dev/$name" used_cq)" -gt 0 ]
}

resets_ahead
prepare
pci=$(basename "$(readlink -f "/sys/class/nvme/$name/device")")
region=$((16 << 20)) length=$((32 << 20))

fio_start /mnt 1
told=0
for _ in 1 2 3 4 5 6 7 8 9 10; do
	hog_start "/dev/$name" rw 3600 "$region" "$length" || break
	echo 1 >"/sys/class/nvme/$name/reset_controller"
	hog_end
	code=$?
	wait_live "$name" || break
	[ "$code" -eq 3 ] || { echo "# hog ended with $code: $hog_said"; break; }
	told=$((told + 1))
done
is "owners told of a reset, with I/O in flight" "$told" 10
echo "# the last one: $hog_said"

# The same, and the process is killed in the middle of the reset.
killed=0
for _ in 1 2 3 4 5; do
	hog_start "/dev/$name" rw 3600 "$region" "$length" || break
	echo 1 >"/sys/class/nvme/$name/reset_controller" &
	kill -KILL "$hog"
	hog_end
	wait $!
	wait_live "$name" || break
	killed=$((killed + 1))
done
is "processes killed while the controller was reset" "$killed" 5
fio_stop
given_back

# Owners who make and delete queues as the reset comes. Between two busy loops they hardly run: what the
# controller answered before the reset they see when it is over, and whether it knows the queue still is the question.
made=0
for _ in 1 2 3 4 5 6 7 8 9 10; do
	churn "/dev/$name" 1000000 >/run/churn.log 2>&1 &
	churn=$!
	wait_until has_queue || break
	chrt --all-tasks --idle --pid 0 "$churn" || break
	busy=()
	for _ in 1 2; do
		sh -c 'while :; do :; done' &
		busy+=($!)
	done
	echo 1 >"/sys/class/nvme/$name/reset_controller"
	kill "${busy[@]}"
	wait_live "$name" || break
	kill -KILL "$churn" 2>/dev/null
	wait "$churn" "${busy[@]}" 2>/dev/null
	has_queue && break
	made=$((made + 1))
done
is "owners in the midst of making queues when the controller was reset, and none left behind" "$made" 10
given_back
try "new queues after it" churn "/dev/$name" 20
intact
try "a user queue reads what the stock path reads" snvme verify "/dev/$disk" --offset=64m --size=16m

hog_start "/dev/$name" rw 3600 "$region" "$length"
refuses "the module stays while a queue is open" "in use|unavailable" rmmod snvme
try "unbind under load" sh -c "echo $pci >/sys/bus/pci/drivers/nvme/unbind"
hog_end
is "the owner is told: gone ($hog_said)" "$?" 4
is "every pin is released" "$(pins)" "$before"
try "bind again" sh -c "echo $pci >/sys/bus/pci/drivers/nvme/bind"
found_again
try "new queues after it" churn "/dev/$name" 20
try "fsck" e2fsck -fn "/dev/${disk}p1"

# The module goes first, the driver after it, with nothing left behind by either.
try "unload the module" rmmod snvme
try "unbind without the module" sh -c "echo $pci >/sys/bus/pci/drivers/nvme/unbind"
try "bind again" sh -c "echo $pci >/sys/bus/pci/drivers/nvme/bind"
try "load the module again" load_snvme
found_again
try "new queues after it" churn "/dev/$name" 5
try "unload the module" rmmod snvme
done_testing
