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

# prepare: a file system on a partition of the test disk behind what owners of queues write, mounted at /mnt,
# and the module. Sets $disk, $name (the controller's) and $before (pinned pages).
mkfs_options=() mount_options=()
prepare() {
	disk=$(disk_of test)
	name=$(ctrl_of test)
	try "partition" sh -c "echo 'start=64MiB' | sfdisk -q /dev/$disk" || done_testing
	try "mkfs" mkfs.ext4 -q -F "${mkfs_options[@]}" "/dev/${disk}p1" || done_testing
	try "mount" mount "${mount_options[@]}" "/dev/${disk}p1" /mnt || done_testing
	# Files of fio_start's that have all their blocks: what follows writes data only.
	[ ${#mount_options[@]} -eq 0 ] || { head -c 16M /dev/zero >/mnt/verify.0.0 && sync; }
	try "load the module" "${@:-load_snvme}" || done_testing
	before=$(pins)
}

# resets_ahead: before prepare, for a test that resets the controller. After a reset the 6.1 driver starts its
# queues before it turns shadow doorbells on again, and a second command that was cut off is never seen by
# QEMU's controller. Seen without snvme.ko, with fio at depth 16: the disk hung after 24 resets. 6.12 has
# them in order. So there the file system has no journal, no times and no extents to write, and within its first
# seconds no inode tables to write and no bitmaps to read, which would be commands of its own; and on all kernels fio
# has one in flight.
resets_ahead() {
	[[ $(uname -r) = 6.1.* ]] || return 0
	mkfs_options=(-O ^has_journal)
	mount_options=(-o lazytime,noinit_itable,no_prefetch_block_bitmaps)
}

# prepare_bar: the same, and memory of another device as dma-bufs. Sets $bar, its folder in sysfs.
prepare_bar() {
	bar=$(bar_device) || { not_ok "there is a device with a BAR"; done_testing; }
	prepare
	try "load the exporter" insmod "/lib/modules/$(uname -r)/bar_dmabuf.ko" || done_testing
}

# given_back: results: the queues and pages of owners that have ended.
given_back() {
	is "no queue is left" "$(count "/dev/$name" used_sq) $(count "/dev/$name" used_cq)" "0 0"
	is "every pin is released" "$(pins)" "$before"
}

# intact: results: the file system that prepare made.
intact() {
	try "umount" umount /mnt
	try "fsck" e2fsck -fn "/dev/${disk}p1"
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

# start PROGRAM ARG...: a process with commands in flight; returns once they flow. Its output goes on to come
# from descriptor $out, its number is $pid.
start() {
	local line

	exec {out}< <(exec "$@" 2>&1)
	pid=$!
	read -r -t $patience line <&"$out" || line="no answer"
	[ "$line" = started ] || { echo "# $*: $line"; return 1; }
}

hog_start() {
	local code=0

	start hog "$@" || code=$?
	hog=$pid hog_out=$out
	return "$code"
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
	local code=0

	start steady "$@" || code=$?
	steady=$pid steady_out=$out
	return "$code"
}

# steady_again: its commands flow in another life.
steady_again() {
	local line

	read -r -t $patience line <&"$steady_out" && [ "$line" = again ]
}

# steady_wait: its end; what it did is in $steady_said, its exit status is ours.
steady_wait() {
	local code=0

	steady_said=$(grep -v '^again$' <&"$steady_out")
	wait "$steady" || code=$?
	exec {steady_out}<&-
	return "$code"
}

# steady_end: ends it.
steady_end() {
	kill -TERM "$steady" 2>/dev/null
	steady_wait
}

# steady_count WORD: the number before it in what it said.
steady_count() {
	grep -o "[0-9]* $1" <<<"$steady_said" | cut -d ' ' -f 1
}

is_live() {
	[ "$(cat "/sys/class/nvme/$1/state" 2>/dev/null)" = live ]
}

# wait_live CONTROLLER
wait_live() {
	wait_until is_live "$1"
}

# found_again: after the driver has taken the test disk anew; sets $name and $disk.
found_again() {
	name=$(ctrl_of test) && wait_live "$name" && disk=$(disk_of test) && wait_until [ -b "/dev/${disk}p1" ]
}

# written: writes that have ended on the disk, by the stock path.
written() {
	awk '{ print $5 }' "/sys/block/$disk/stat"
}

has_written() {
	[ "$(written)" -gt "$1" ]
}

# goes_on: the stock path has ended writes that it had not when this was called.
goes_on() {
	wait_until has_written "$(written)"
}

# For wait_until: the disk with this serial number, which is in slot1 and has the address $pci, is pulled out, and
# another put in its place, on QEMU's drive "again". A guest that is just back from its sleep may not hear of the first
# request, and QEMU refuses a new disk until it is done with the old one, which is a little later than the guest, and
# once more when it has taken it.
pulled_out() {
	[ $((asked++ % 100)) -ne 0 ] || monitor "device_del nvme-$1"
	[ ! -e "/sys/bus/pci/devices/$pci" ]
}

put_back() {
	monitor "device_add nvme,drive=again,id=nvme-again,serial=$1,bus=slot1,max_ioqpairs=64"
	[ -e "/sys/bus/pci/devices/$pci" ]
}

# ---- SSDs that vssd.ko plays ----

ssds=/sys/kernel/config/vssd

load_vssd() {
	findmnt /sys/kernel/config >/dev/null || mount -t configfs configfs /sys/kernel/config
	insmod "/lib/modules/$(uname -r)/vssd.ko"
}

# make_ssd NAME SETTING=VALUE...: an SSD that is there, with the driver. Sets $name (the controller's) and $disk.
make_ssd() {
	local setting

	mkdir "$ssds/$1" || return
	for setting in "${@:2}"; do
		echo "${setting#*=}" >"$ssds/$1/${setting%%=*}" || return
	done
	echo 1 >"$ssds/$1/enable" && name=$(ctrl_of "$1") && wait_live "$name" && disk=$(disk_of "$1") &&
		wait_until [ -b "/dev/$disk" ]
}
