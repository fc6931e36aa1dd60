#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Memory runs out, again and again, in calls that come from snvme.ko: slab objects, then pages. What fails
# may fail, with an errno; nothing is lost, and the file system on the same disk notices nothing. For the
# debug kernel, which has fault injection; the others skip it.
#
# guest: --bar 64M
# Where vmalloc() fails, the kernel shows who asked; what is wrong has a headline of its own.
# guest: --allow Call Trace
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

if [ ! -e /sys/kernel/debug/failslab ]; then
	skip "failures of allocations" "this kernel has no fault injection"
	done_testing
fi
prepare_bar
# What is learned of the driver at the first attach takes thousands of allocations, of which one would fail.
try "nothing fails yet" churn "/dev/$name" 5
before=$(pins)
fio_start /mnt 1

# fail KIND PERCENT: of KIND's allocations with the module's text in their backtrace.
fail() {
	local at=/sys/kernel/debug/$1 start size

	start=$(cat /sys/module/snvme/sections/.text)
	size=$(awk '$1 == "snvme" { print $2 }' /proc/modules)
	echo "$start" >"$at/require-start"
	printf '%#x' $((start + size)) >"$at/require-end"
	echo 20 >"$at/stacktrace-depth"
	echo N >"$at/ignore-gfp-wait"
	[ "$1" != fail_page_alloc ] || echo 0 >"$at/min-order"
	echo 0 >"$at/verbose"
	echo -1 >"$at/times"
	echo "$2" >"$at/probability"
}

# Each of them opens a session, attaches, registers memory, makes queues, and does I/O with them.
for kind in failslab fail_page_alloc; do
	worked=0 failed=0
	for percent in 2 10 30; do
		fail "$kind" "$percent"
		for _ in $(seq 15); do
			if churn "/dev/$name" 1 >/dev/null 2>&1; then
				worked=$((worked + 1))
			else
				failed=$((failed + 1))
			fi
			# shellcheck disable=SC2015 # not an if: both count
			p2p "/dev/$name" "/dev/$disk" "$bar/resource2" reach 2>/dev/null |
				grep -q "came back" && worked=$((worked + 1)) || failed=$((failed + 1))
		done
	done
	echo 0 >"/sys/kernel/debug/$kind/probability"
	if [ "$worked" -gt 0 ] && [ "$failed" -gt 0 ]; then
		ok "$kind: $failed of $((worked + failed)) attempts failed in order"
	else
		not_ok "$kind: $failed of $((worked + failed)) attempts failed: some should, not all"
	fi
	try "nothing fails now" churn "/dev/$name" 5
done
fio_stop
given_back
intact
try "no dma-buf is left: the exporter goes" rmmod bar_dmabuf
try "unload the module" rmmod snvme
done_testing
