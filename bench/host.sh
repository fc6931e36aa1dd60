#!/bin/bash
# SPDX-License-Identifier: MIT
#
# usage: bench/host.sh [TURNS [SECONDS]]
# The virtual SSD in process: against memcpy, against fio on the same file, and in instructions.
# Prints a table and writes build/bench/host.json.
set -euo pipefail
cd "$(dirname "$0")/.."

turns=${1:-5} seconds=${2:-1}
mkdir -p build/bench
rows=build/bench/host.rows
work=$(mktemp -d build/bench/host.XXXXXX)
trap 'rm -rf "$work"' EXIT
: >$rows

build/bench-host rate "$seconds" "$turns" | tee -a $rows
build/bench-host clients "$seconds" "$turns" | tee -a $rows
build/bench-host ways "$seconds" "$turns" | tee -a $rows

# Instructions per command, counted, not timed. Data are not touched by the null medium, so that
# neither side's share has a copy in it. The runs of two lengths take the set-up away.
count() {	# COMMANDS
	valgrind --tool=callgrind --callgrind-out-file="$work/cg" --quiet \
		build/bench-host count "$1" "vssd:null,size=1G,lba=4096,threads=0" 2>"$work/err" ||
		{ cat "$work/err" >&2; return 1; }
	callgrind_annotate --threshold=100 --inclusive=yes "$work/cg" | tr -d ',' |
		awk 'function most(name) { if ($0 ~ ":" name " " && $1 > n[name]) n[name] = $1 }
			{ most("vssd_home_pump"); most("snvme_submit"); most("snvme_wait") }
			END { print n["vssd_home_pump"] + 0, n["snvme_submit"] + n["snvme_wait"] - n["vssd_home_pump"] }'
}
few=20000 many=120000
read -r vssd_few host_few <<<"$(count $few)"
read -r vssd_many host_many <<<"$(count $many)"
awk -v n=$((many - few)) -v v=$((vssd_many - vssd_few)) -v h=$((host_many - host_few)) 'BEGIN {
	printf "row randread-4k-qd32 vssd instructions %.1f 1\n", v / n
	printf "row randread-4k-qd32 host instructions %.1f 1\n", h / n }' | tee -a $rows

# A file, through fio's io_uring and through vssd's, in turns.
file=$work/file
fio --name=fill --filename="$file" --rw=write --bs=1M --size=1G --direct=1 --ioengine=io_uring \
	--iodepth=8 --end_fsync=1 --output=/dev/null
for ((turn = 0; turn < turns; turn++)); do
	for rw in randread randwrite; do
		fio --name=r --filename="$file" --rw=$rw --bs=4k --size=1G --direct=1 --ioengine=io_uring \
			--iodepth=32 --time_based --runtime="$seconds" --norandommap --output-format=json \
			--output="$work/fio.json"
		build/snvme bench "vssd:file=$file,lba=4096" --rw=$rw --bs=4k --iodepth=32 \
			--runtime="$seconds" -o json >"$work/snvme.json"
		python3 - "$rw" "$work" <<'PY' | tee -a $rows
import json
import sys

rw, work = sys.argv[1:]
job = json.load(open(work + "/fio.json"))["jobs"][0]
ours = json.load(open(work + "/snvme.json"))
side = "read" if rw == "randread" else "write"
print(f"row file-{rw}-4k-qd32 fio iops {job[side]['iops']:.0f} 1/s")
print(f"row file-{rw}-4k-qd32 vssd-file iops {ours[side]['iops']:.0f} 1/s")
PY
	done
done
python3 bench/host.py $rows build/bench/host.json
