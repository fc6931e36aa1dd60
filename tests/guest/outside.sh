#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What the administrator sees of user queues and decides about them: debugfs, tracepoints, the group that may use
# them, budgets. And what a flood of commands costs the file system, with a budget and without.
#
# guest: --disk serial=other,max_ioqpairs=8
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"
. "${0%/*}/figures.sh"

prepare
dev=/dev/$name
other=$(ctrl_of other)
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
seen=/sys/kernel/debug/snvme/controllers
parameters=/sys/module/snvme/parameters

# ---- debugfs ----
is "nobody there: nothing to see" "$(cat $seen)" ""
hog_start "/dev/$name" rw 3600 $((16 << 20)) $((32 << 20))
explain <$seen
is "one controller is shared" "$(grep -c '^nvme' $seen)" 1
is "which, and in what state" "$(grep -c "^$name $(cat "/sys/class/nvme/$name/address"): live, epoch 0, " $seen)" 1
is "its numbers are those of info" "$(grep -o 'used [0-9]* [0-9]*' $seen)" "used $(count "/dev/$name" used_sq) $(count "/dev/$name" used_cq)"
is "its owner" "$(grep -c "^  owner $hog (hog), uid 0: memory [0-9]* KiB" $seen)" 1
is "his queues" "$(grep -c '^    [SC]Q [0-9]*: [0-9]* entries, live' $seen)" "$(($(count "/dev/$name" used_sq) + $(count "/dev/$name" used_cq)))"
tail_now() {
	grep -o 'tail [0-9]*' $seen
}
moves() {
	[ "$(tail_now)" != "$(tail_now)" ]
}
if grep -q 'tail' $seen; then
	try "his doorbells move" wait_until moves
else
	skip "his doorbells move" "the controller has no shadow doorbells"
fi
kill "$hog"
hog_end
is "he is gone" "$(cat $seen)" ""
is "nobody else may look" "$(setpriv --reuid 1000 --clear-groups cat $seen 2>&1 >/dev/null | grep -c denied)" 1

# ---- how many commands ----
# A ring's position says how far, not how often round: what is looked at now and then misses turns. But the controller's
# SMART log counts all commands, and the kernel its own: the rest is user queues'.
disk2=$(disk_of other)
users_reads() {
	local all
	all=$(nvme smart-log "/dev/$other" | sed -n 's/^host_read_commands[[:space:]]*: *\([0-9]*\)$/\1/p')
	echo $((all - $(awk '{ print $1 }' "/sys/block/$disk2/stat")))
}
reads=$(users_reads)
try "reads of a user queue" sh -c "snvme bench /dev/$disk2 --rw=randread --iodepth=31 --runtime=1 -o json >/tmp/bench.json"
try "and the kernel's" dd if="/dev/$disk2" of=/dev/null bs=4k count=100 iflag=direct status=none
is "the SMART log less the kernel's count" "$(($(users_reads) - reads))" \
	"$(grep -o '"submitted": *[0-9]*' /tmp/bench.json | grep -o '[0-9]*$')"

# ---- tracepoints ----
# With the names of commands recorded, a first event has the kernel patch its scheduler while the other CPU runs it,
# which TCG does not survive for long: it loses the breakpoint by which that is done, or keeps it.
echo 0 >/sys/kernel/tracing/options/record-cmd
record() {
	trace-cmd record -q -e snvme -o /tmp/trace.dat "$@" >/tmp/trace.out 2>&1 || { cat /tmp/trace.out; return 1; }
	trace-cmd report -i /tmp/trace.dat >/tmp/trace 2>&1
}
traced() {
	grep -c "snvme_$1:.*$2" /tmp/trace
}
try "trace-cmd records" record snvme verify "/dev/$disk" --size=1m
head -n 12 /tmp/trace | explain
is "attached and detached" "$(traced attach "$name owner=[0-9]") $(traced detach "$name")" "1 1"
is "a pair of queues made" "$(traced queue_create "$name .*CQ qid=") $(traced queue_create "$name .*SQ qid=")" "1 1"
is "and deleted" "$(traced queue_delete "$name .*CQ qid=") $(traced queue_delete "$name .*SQ qid=")" "1 1"
is "memory" "$(($(traced mem_register "$name .* user bytes=") > 0)) $(($(traced mem_register "$name .* kernel bytes=4096") > 0))" "1 1"
is "each that came went" "$(traced mem_register "$name")" "$(traced mem_unregister "$name")"
steady_start "/dev/$other" 100000 $((16 << 20)) $((4 << 20)) 1
reset_seen() {
	echo 1 >"/sys/class/nvme/$1/reset_controller" && wait_live "$1"
}
export patience
export -f reset_seen wait_live wait_until is_live
try "a reset, recorded" record bash -c "reset_seen $other"
grep snvme_state /tmp/trace | explain
is "it was seen" "$(traced state "$other reset epoch=1") $(traced state "$other live epoch=1")" "1 1"
steady_end

# ---- who may ----
# as UID GROUP COMMAND...: run in the background its number is the command's.
as() {
	local me=$BASHPID
	[ "$me" = $$ ] || exec setpriv --reuid "$1" --regid "$1" --groups "$2" "${@:3}"
	setpriv --reuid "$1" --regid "$1" --groups "$2" "${@:3}"
}
chmod 660 "/dev/$name"
chgrp 2000 "/dev/$name"
refuses "a user" "no right" as 1000 2000 snvme info "/dev/$name"
chgrp 2000 /dev/snvme
refuses "of the group, before it has the mode" "no right" as 1000 2000 snvme info "/dev/$name"
chmod 660 /dev/snvme
try "of the group" as 1000 2000 snvme bench "/dev/$name" --rw=read --bs=4k --size=1m
refuses "of another" "no right" as 1000 2001 snvme info "/dev/$name"
refuses "one who cannot open the disk" "no right" as 1000 2000 snvme info "/dev/$other"
refuses "root without CAP_SYS_RAWIO" "no right" setpriv --bounding-set -sys_rawio --clear-groups snvme info "/dev/$name"
chgrp 0 /dev/snvme
refuses "root's own group is none" "no right" setpriv --bounding-set -sys_rawio --clear-groups snvme info "/dev/$name"
chgrp 2000 /dev/snvme

# ---- budgets ----
spent="the administrator's limit"
user_bench() {
	as 1000 2000 snvme bench "$dev" --rw=read --bs=4k --size=4m "$@"
}
echo 2 >$parameters/owner_queues
try "as many queues as a user may have" user_bench --numjobs=2
refuses "one more" "$spent" user_bench --numjobs=3
try "root is above that" snvme bench "/dev/$name" --rw=read --bs=4k --size=4m --numjobs=3
as 1000 2000 snvme bench "$dev" --rw=read --bs=4k --size=4m --runtime=3600 --numjobs=2 >/dev/null 2>&1 &
hog=$!
has_queues() {
	[ "$(grep -c '^    [SC]Q [0-9]*: [0-9]* entries, live' $seen)" -ge "$1" ]
}
wait_until has_queues 4
refuses "all his processes together" "$spent" user_bench
try "another user has his own" as 1001 2000 snvme bench "/dev/$name" --rw=read --bs=4k --size=4m --numjobs=2
kill "$hog"
wait "$hog" 2>/dev/null
echo 0 >$parameters/owner_queues
echo 40 >$parameters/owner_commands
try "as many commands as a user may have in flight" user_bench --iodepth=40
refuses "one more" "$spent" user_bench --iodepth=41
echo 0 >$parameters/owner_commands
echo 512 >$parameters/owner_memory
refuses "more memory than a user may have registered" "$spent" user_bench --iodepth=4 --bs=256k
try "less" user_bench --iodepth=4
# An owner ends with his last session, and what he was charged with him: one session that stays shows what the
# others give back. Beside it there is room for one of these, not for three.
echo 3 >$parameters/owner_queues
echo 40 >$parameters/owner_commands
echo 640 >$parameters/owner_memory
as 1000 2000 snvme bench "$dev" --rw=read --bs=4k --size=4m --runtime=3600 --iodepth=8 >/dev/null 2>&1 &
hog=$!
wait_until has_queues 2
for _ in 1 2 3; do
	try "what a user gave back he has again" user_bench --bs=16k --iodepth=24
done
kill "$hog"
wait "$hog" 2>/dev/null
echo 0 >$parameters/owner_queues
echo 0 >$parameters/owner_commands
echo 0 >$parameters/owner_memory
try "no budget any more" user_bench --iodepth=64 --numjobs=4
is "the users are gone" "$(cat $seen)" ""

# ---- what a flood costs the file system ----
# fio_p99: writes on the mounted file system, their 99th percentile in microseconds.
fio_p99() {
	fio --name=lat --directory=/mnt --size=16m --rw=randwrite --bs=4k --direct=1 --ioengine=psync \
		--time_based --runtime=4 --output-format=terse --terse-version=3 >/tmp/fio.out 2>&1
	fio_figures /tmp/fio.out write | cut -d ' ' -f 4
}
flood() {
	as 1000 2000 snvme bench "$dev" --rw=randread --bs=16k --size=32m --iodepth="$1" --runtime=3600 \
		>/dev/null 2>&1 &
	flood=$!
	wait_until grep -q 'owner' $seen
}
# end_flood
end_flood() {
	kill "$flood"
	wait "$flood"
}
echo 4 >$parameters/owner_commands
refuses "a flood, with a budget" "$spent" user_bench --iodepth=256
full=0 limited=1
for _ in 1 2 3 4 5 6; do		# a machine with other things to do may be late by itself
	alone=$(fio_p99)
	echo 0 >$parameters/owner_commands
	flood 256
	full=$(fio_p99)
	end_flood
	echo 4 >$parameters/owner_commands
	flood 4
	limited=$(fio_p99)
	end_flood
	[ "$limited" -ge "$full" ] || break
done
echo 0 >$parameters/owner_commands
echo "# p99 of 4 KiB writes on the file system: alone $alone us, beside 256 reads of 16 KiB in flight $full us, beside 4 of them $limited us"
is "a budget helps" "$((limited < full))" 1

intact
try "unload the module" rmmod snvme
is "debugfs is empty" "$(ls -d /sys/kernel/debug/snvme 2>/dev/null)" ""
done_testing
