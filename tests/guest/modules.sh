#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The stock driver's modules and ours, loaded and unloaded in any order, with owners of queues at work: the
# root disk is no NVMe disk here. Ours uses nvme-core, and so goes before that.
#
# guest: --no-nvme-root
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

# load_modules [WITHOUT]: what of the driver's is not there, in order.
load_modules() {
	local module

	while read -r module; do
		[ "$module" = "${1-}" ] || [ -e "/sys/module/$(tr - _ <<<"${module%.ko}")" ] ||
			insmod "/stock/$module" || return
	done </stock/order
}

load_stock() {
	load_modules && found_again
}

load_core_and_ours() {
	load_modules nvme.ko && load_snvme
}

region=$((16 << 20)) length=$((8 << 20))

prepare
fio_start /mnt
steady_start "/dev/$name" 100000 "$region" "$length" 1 || { not_ok "an owner"; done_testing; }
refuses "the driver stays while its disk is mounted" "in use|unavailable" rmmod nvme
refuses "our module stays while a queue is open" "in use|unavailable" rmmod snvme
fio_stop
intact
again=0
for i in 1 2 3 4 5; do
	rmmod nvme || break
	steady_wait
	[ $? -eq 4 ] || { echo "$steady_said" | explain; break; }
	load_stock || break
	steady_start "/dev/$name" 100000 "$region" "$length" "$i" && again=$((again + 1))
done
is "the driver goes below owners, and comes again, with ours loaded" "$again" 5
steady_end
is "the last owner saw no error: $steady_said" "$?" 0
given_back
refuses "the driver's core stays while ours is loaded" "in use|unavailable" rmmod nvme_core
try "our module goes first" rmmod snvme
try "then the driver" rmmod nvme
try "and its core" rmmod nvme_core
refuses "ours does not come without it" "nknown symbol" load_snvme
try "the driver comes" load_stock
try "then ours" load_snvme
try "queues" churn "/dev/$name" 20
try "the driver goes first" rmmod nvme
try "then ours" rmmod snvme
try "and the core" rmmod nvme_core
try "ours comes before the driver, after the core" load_core_and_ours
try "the driver comes" load_stock
try "queues" churn "/dev/$name" 20
try "fsck" e2fsck -fn "/dev/${disk}p1"
done_testing
