# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For the test scripts that run in a guest: the Test Anything Protocol, and the disks. A script
# sources this first ('. "${0%/*}/lib.sh"') and ends with done_testing.

tests=0
failures=0
planned=

# Prints what the standard input says as the explanation of a result.
explain() {
	sed 's/^/# /'
}

# ok NAME, not_ok NAME: a result.
ok() {
	echo "ok $((tests += 1)) - $1"
}

not_ok() {
	failures=$((failures + 1))
	echo "not ok $((tests += 1)) - $1"
}

# skip NAME REASON: what this machine cannot show.
skip() {
	echo "ok $((tests += 1)) - $1 # SKIP $2"
}

# is NAME GOT WANT
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1"
		printf 'got %s\nwant %s\n' "$2" "$3" | explain
	fi
}

# try NAME COMMAND...: the command ends with 0; what it printed is shown if it does not. Returns the
# command's status, for a test that cannot go on without it: try ... || done_testing.
try() {
	local name=$1 output code=0

	shift
	echo "test: $name" >/dev/kmsg
	output=$("$@" 2>&1) || code=$?
	if [ "$code" -eq 0 ]; then
		ok "$name"
	else
		not_ok "$name"
		printf '%s\nexit status %d of: %s\n' "$output" "$code" "$*" | explain
	fi
	return "$code"
}

# refuses NAME REGEX COMMAND...: the command ends by itself, not with 0, and its output matches.
refuses() {
	local name=$1 regex=$2 output code=0

	shift 2
	echo "test: $name" >/dev/kmsg
	output=$("$@" 2>&1) || code=$?
	if [ "$code" -gt 0 ] && [ "$code" -lt 124 ] && grep -Eq -e "$regex" <<<"$output"; then
		ok "$name"
	else
		not_ok "$name"
		printf '%s\nexit status %d of: %s\nexpected a refusal with: %s\n' \
			"$output" "$code" "$*" "$regex" | explain
	fi
}

# done_testing: the plan, and the end of the script.
done_testing() {
	planned=1
	echo "1..$tests"
	exit "$((failures > 0))"
}

# A script that ends otherwise has failed, whatever its last command said.
trap '[ -n "$planned" ] || { not_ok "ends with done_testing"; exit 1; }' EXIT

# For how many seconds to wait for what must come. It says that something hangs, and nothing of how long it takes: an
# emulated machine beside others can be slow by any factor.
patience=300

# wait_until COMMAND...: until the command succeeds; 1 if it does not.
wait_until() {
	local end=$((SECONDS + patience))

	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

find_ctrl() {
	local controller serial

	for controller in /sys/class/nvme/nvme*; do
		read -r serial <"$controller/serial" || continue
		if [ "$serial" = "$1" ]; then
			echo "${controller##*/}"
			return
		fi
	done 2>/dev/null
	return 1
}

find_disk() {
	local disk nsid

	for disk in "/sys/class/nvme/$1"/nvme*n*; do
		read -r nsid <"$disk/nsid" || continue
		disk=${disk##*/}
		# Of several paths to a namespace (nvme0c1n2) the disk is none (nvme0n2).
		disk=${disk/c[0-9]*n/n}
		if [ "$nsid" = "$2" ] && [ -b "/dev/$disk" ]; then
			echo "$disk"
			return
		fi
	done 2>/dev/null
	return 1
}

# ctrl_of SERIAL: the controller's name, such as nvme1. The driver probes in the background: wait.
ctrl_of() {
	wait_until find_ctrl "$1"
}

# disk_of SERIAL [NSID]: the block device's name of its namespace NSID (1), such as nvme1n1: not always named by it,
# as the driver scans several at once.
disk_of() {
	local controller

	controller=$(ctrl_of "$1") && wait_until find_disk "$controller" "${2:-1}"
}

# bar_device: the PCI device with a BAR of memory (guest.sh --bar), switched on: its folder in sysfs.
bar_device() {
	local device

	for device in /sys/bus/pci/devices/*; do
		[ "$(cat "$device/vendor" "$device/device")" = $'0x1af4\n0x1110' ] || continue
		echo 1 >"$device/enable"
		echo "$device"
		return
	done
	return 1
}

# bar_memory DEVICE on|off: does it answer? Bit 1 of the command register; 2 is its own DMA.
bar_memory() {
	# shellcheck disable=SC2059 # the byte is the format
	printf "$([ "$2" = on ] && echo '\7' || echo '\0')" |
		dd of="$1/config" bs=1 seek=4 conv=notrunc 2>/dev/null
}

# monitor COMMAND: one for QEMU's monitor; returns when it has been carried out.
monitor() {
	local port reply

	exec {port}<>/dev/ttyS2
	# What stands in its line already is not a part of this command: some of its greeting, which this port's echo gave
	# back to it before init switched that off. And greeting and prompts are not the answer.
	echo >&"$port"
	while read -r -t 0.3 -n 256 <&"$port"; do :; done
	echo "$1" >&"$port"
	while read -r -t $patience -d ')' reply <&"$port" && [[ $reply != *'(qemu' ]]; do :; done
	exec {port}<&-
}

# load_snvme [PARAMETER=VALUE...]
load_snvme() {
	insmod "/lib/modules/$(uname -r)/snvme.ko" "$@"
}
