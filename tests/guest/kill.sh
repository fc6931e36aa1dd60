#!/bin/bash
# SPDX-License-Identifier: MIT
#
# 200 processes with reads and writes in flight on queues of their own end by SIGKILL, while fio
# verifies on the file system that is mounted from the same disk.
#
# guest: --timeout 900
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

disk=$(disk_of test)
controller=/dev/$(ctrl_of test)
# The file system takes 512 MiB of the disk; the processes write behind it.
behind=$((512 << 20)) length=$((256 << 20))

try "load the module" load_snvme || done_testing
try "mkfs" mkfs.ext4 -q -F "/dev/$disk" 512m || done_testing
try "mount" mount "/dev/$disk" /mnt || done_testing
spare=$(count "$disk" spare_sq)
before=$(pins)
fio_start /mnt

killed=0
while [ "$killed" -lt 200 ]; do
	hog_start "$controller" rw 60 "$behind" "$length" || break
	kill -KILL "$hog"
	hog_end
	code=$?
	[ "$code" -eq 137 ] || { echo "# hog ended with $code: $hog_said"; break; }
	killed=$((killed + 1))
done
is "processes killed with I/O in flight" "$killed" 200

fio_stop
is "every pin is released" "$(pins)" "$before"
is "no queue is left" "$(count "$disk" used_sq) $(count "$disk" used_cq)" "0 0"
is "the pool is whole" "$(count "$disk" spare_sq)" "$spare"
try "all of it can be created" churn "$controller" 10
try "umount" umount /mnt
try "fsck" e2fsck -fn "/dev/$disk"
try "unload the module" rmmod snvme
done_testing
