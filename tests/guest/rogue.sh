#!/bin/bash
# SPDX-License-Identifier: MIT
#
# An owner of raw queues does everything wrong that an owner can, while a file system on the same disk
# is in use and other queues of their own are busy: nobody but that owner notices.
#
# guest: --allow DMAR:.*fault
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

# What the driver is told of asynchronous events shows in its tracepoint only.
echo 1 >/sys/kernel/debug/tracing/events/nvme/nvme_async_event/enable

# rogue writes up to 16 MiB, hog behind that; the file system lies behind both.
prepare
fio_start /mnt
hog_start "/dev/$name" rw 100000 $((32 << 20)) $((16 << 20)) || { not_ok "a neighbour"; done_testing; }
epoch=$(count "$disk" epoch)
dmesg >/run/log.before

rogue "/dev/$name" "$@" 2>&1 | explain
is "rogue" "${PIPESTATUS[0]}" 0

dmesg | tail -n +$(($(wc -l </run/log.before) + 1)) >/run/log
is "the controller was not reset" "$(count "$disk" epoch)" "$epoch"
is "it is live" "$(cat "/sys/class/nvme/$name/state")" live
is "the driver has no complaint" "$(grep -E -i 'nvme.*(timeout|reset|abort|I/O error|fail)' /run/log)" ""
if grep -q intel_iommu=on /proc/cmdline; then
	is "the IOMMU has told of faults" "$(grep -E -q 'DMAR:.*fault addr' /run/log && echo yes)" yes
	grep -E 'DMAR:.*fault addr' /run/log | head -n 5 | explain
fi
# Until now hog would have ended by itself only for an error, or for no completion in 30 s.
kill -TERM "$hog"
hog_end
is "the neighbour saw no error" "$? $hog_said" "143 "
fio_stop
given_back
try "all queues can be created" churn "/dev/$name" 5
intact
try "unload the module" rmmod snvme
done_testing
