# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For test scripts, after lib.sh: load on the stock path, and what must be back as it was after.

# count DEV KEY: a number of `snvme info`, such as used_sq.
count() {
	snvme info "$1" -o json | grep -o "\"$2\": *[0-9]*" | grep -o '[0-9]*$'
}

# pins: pages pinned by anyone now, as the kernel counts them.
pins() {
	cat /proc/sys/vm/stat_refresh		# each CPU keeps a part to itself for a while
	awk '/nr_foll_pin_acquired/ { a = $2 } /nr_foll_pin_released/ { r = $2 } END { print a - r }' \
		/proc/vmstat
}

# fio_start DIR[:DIR] [DEPTH]: verifies files there through the kernel, pass after pass, until fio_stop.
fio_start() {
	local depth=${2:-16} dirs=${1//[^:]/}

	rm -f /run/fio.stop /run/fio.passes
	(
		passes=0
		while [ ! -e /run/fio.stop ]; do
			fio --name=verify --directory="$1" --numjobs=$((${#dirs} + 1)) --size=16m --rw=randwrite --bs=4k --direct=1 \
				--ioengine=libaio --iodepth="$depth" --verify=crc32c --verify_fatal=1 \
				--output-format=normal,terse --terse-version=3 \
				>/run/fio.log 2>&1 || exit 1
			echo $((passes += 1)) >/run/fio.passes
		done
	) &
	fio=$!
}

# fio_stop: a result: every pass was verified, and there was at least one.
fio_stop() {
	local code=0

	touch /run/fio.stop
	wait "$fio" || code=$?
	if [ "$code" -eq 0 ] && [ -s /run/fio.passes ]; then
		ok "fio verified every block on the mounted file system ($(cat /run/fio.passes) passes)"
	else
		not_ok "fio verified every block on the mounted file system"
		explain </run/fio.log
	fi
}

# hog_start ARG...: a process with commands in flight; returns once they flow. Its output goes on
# to come from descriptor $hog_out, its number is $hog.
hog_start() {
	local line

	exec {hog_out}< <(exec hog "$@" 2>&1)
	hog=$!
	read -r -t 60 line <&"$hog_out" || line="no answer from hog"
	[ "$line" = started ] || { echo "# hog $*: $line"; return 1; }
}

# hog_end: waits for it; its last words in $hog_said, its exit status is ours.
hog_end() {
	local code=0

	hog_said=$(cat <&"$hog_out")
	wait "$hog" || code=$?
	exec {hog_out}<&-
	return "$code"
}

# steady_start ARG...: an owner of a queue who lives through resets (steady.c); returns once commands flow.
steady_start() {
	local line

	exec {steady_out}< <(exec steady "$@" 2>&1)
	steady=$!
	read -r -t 60 line <&"$steady_out" || line="no answer from steady"
	[ "$line" = started ] || { echo "# steady $*: $line"; return 1; }
}

# steady_end: ends it; what it did is in $steady_said, its exit status is ours.
steady_end() {
	local code=0

	kill -TERM "$steady" 2>/dev/null
	steady_said=$(cat <&"$steady_out")
	wait "$steady" || code=$?
	exec {steady_out}<&-
	return "$code"
}

# steady_count WORD: the number before it in what it said.
steady_count() {
	grep -o "[0-9]* $1" <<<"$steady_said" | cut -d ' ' -f 1
}

# wait_live CONTROLLER
wait_live() {
	local tries=0

	until [ "$(cat "/sys/class/nvme/$1/state" 2>/dev/null)" = live ]; do
		[ $((tries += 1)) -le 600 ] || return 1
		sleep 0.1
	done
}
