#!/bin/bash
# SPDX-License-Identifier: MIT
#
# 200 processes with reads and writes in flight on queues of their own end by SIGKILL, while fio
# verifies on the file system that is mounted from the same disk.
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

# The file system lies behind what the processes write.
prepare
spare=$(count "$disk" spare_sq)
fio_start /mnt

killed=0
while [ "$killed" -lt 200 ]; do
	hog_start "/dev/$name" rw 3600 $((16 << 20)) $((32 << 20)) || break
	kill -KILL "$hog"
	hog_end
	code=$?
	[ "$code" -eq 137 ] || { echo "# hog ended with $code: $hog_said"; break; }
	killed=$((killed + 1))
done
is "processes killed with I/O in flight" "$killed" 200

fio_stop
given_back
is "the pool is whole" "$(count "$disk" spare_sq)" "$spare"
try "all of it can be created" churn "/dev/$name" 10
intact
try "unload the module" rmmod snvme
done_testing
