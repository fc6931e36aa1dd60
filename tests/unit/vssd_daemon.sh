#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Several processes on one virtual SSD in another: one verifies what it writes all the time, the command line
# reads what is known, and a third is killed in the midst of its writes, 200 times: more often than there can
# be controllers.
set -u
snvme=${SNVME:-build/snvme}
dir=$(mktemp -d)
tests=0 failed=0

result() {
	tests=$((tests + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tests - $2"
	else
		echo "not ok $tests - $2"
		failed=1
	fi
}

# shellcheck disable=SC2317 # the trap calls it
end() {
	kill "$daemon" "${steady-}" 2>/dev/null
	wait 2>/dev/null
	rm -rf "$dir"
}

mkfifo "$dir/said"
"$snvme" vssd --socket="$dir/ssd" ram,size=192M >"$dir/said" 2>&1 &
daemon=$!
trap end EXIT
exec 3<"$dir/said"
read -r -t 300 line <&3
[ "$line" = "serving ram,size=192M at $dir/ssd/cntrl" ]
result $? "snvme vssd says where: $line"
ssd=vfio-user:$dir/ssd

"$snvme" info "$ssd" -o json | grep -q '"serial": *"vssd"'
result $? "snvme info"
"$snvme" vssd --socket="$dir/ssd" ram,size=1M 2>&1 | grep -q "in use"
result $? "no second server there"

# 64 MiB for who verifies, 64 for who is killed, 64 that stay as they are.
head -c 4M /dev/urandom >"$dir/data"
"$snvme" write "$ssd" --offset=128m --size=4m --input="$dir/data" >"$dir/log" 2>&1
result $? "snvme write"
bench() {
	"$snvme" bench "$ssd" --bs=4k --iodepth=16 --size=64m --verify=lba "$@"
}
bench --offset=0 --rw=write >"$dir/log" 2>&1 && bench --offset=64m --rw=write >>"$dir/log" 2>&1
result $? "both have their blocks"
"$snvme" bench "$ssd" --bs=4k --iodepth=16 --size=64m --verify=lba --rw=randrw --runtime=100000 -o json \
	>"$dir/steady" 2>&1 &
steady=$!

kills=0 reads=0
while [ $kills -lt 200 ]; do
	"$snvme" bench "$ssd" --bs=4k --iodepth=16 --offset=64m --size=64m --verify=lba --rw=randrw --runtime=100000 \
		>/dev/null 2>&1 &
	victim=$!
	sleep "0.0$((RANDOM % 10))"
	kill -KILL $victim
	wait $victim 2>/dev/null
	[ $? -eq 137 ] || break
	kills=$((kills + 1))
	if [ $((kills % 10)) -eq 0 ]; then
		rm -f "$dir/back"
		"$snvme" read "$ssd" --offset=128m --size=4m -O "$dir/back" >/dev/null 2>&1
		cmp -s "$dir/data" "$dir/back" || break
		reads=$((reads + 1))
	fi
done
[ $kills -eq 200 ] && [ $reads -eq 20 ]
result $? "$kills clients killed, $reads times 4 MiB read"
kill -0 $steady
result $? "who verifies is still at it"
kill -INT $steady
wait $steady
result $? "and saw no wrong block: $(grep -o '"verified": *[0-9]*' "$dir/steady")"
bench --offset=64m --rw=read >"$dir/log" 2>&1
result $? "who was killed left whole blocks only"
kill -TERM $daemon
wait $daemon
result $? "the server ends"
[ ! -e "$dir/ssd/cntrl" ]
result $? "and its socket goes"
echo "1..$tests"
exit $failed
