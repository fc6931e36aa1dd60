#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The kernel ABI, from its specification: what it refuses and with which errno, on the disk that
# carries the root file system and on another; then 1,000 queues made and deleted.
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

disk=$(disk_of test)
printf 'label: gpt\nsize=64M\n' | sfdisk -q "/dev/$disk" >/dev/null 2>&1
try "load the module" load_snvme || done_testing
try "ABI on the root file system's controller" abi "/dev/$(ctrl_of root)"
try "ABI on another controller, with a partition" abi "/dev/$(ctrl_of test)" "/dev/${disk}p1"
before=$(pins)
try "1,000 queues made and deleted" churn "/dev/$(ctrl_of test)" 1000
is "every pin is released" "$(pins)" "$before"
is "every queue is back in the pool" "$(count "$disk" used_sq) $(count "$disk" used_cq)" "0 0"
try "unload the module" rmmod snvme
done_testing
