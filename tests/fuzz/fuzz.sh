#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Runs each fuzzer of build/fuzz for FUZZ_SECONDS (30), two at a time, from the seeds in the tree.
# New inputs are kept in build/fuzz/corpus, crashes in build/fuzz.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${FUZZ_SECONDS:-30}
n=0 failed=0

run() {
	mkdir -p "build/fuzz/corpus/$1"
	timeout $((seconds + 1800)) "build/fuzz/$1" -max_total_time="$seconds" -timeout=300 -rss_limit_mb=4096 \
		-artifact_prefix="build/fuzz/crash-$1-" "build/fuzz/corpus/$1" "tests/fuzz/corpus/$1" \
		>"build/fuzz/$1.log" 2>&1
	echo $? >"build/fuzz/$1.rc"
}

for source in tests/fuzz/fuzz_*.c; do
	name=${source##*/fuzz_}
	names+=("${name%.c}")
done
for name in "${names[@]}"; do
	while [ "$(jobs -r | wc -l)" -ge 2 ]; do wait -n; done
	run "$name" &
done
wait
for name in "${names[@]}"; do
	n=$((n + 1))
	runs=$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "build/fuzz/$name.log")
	if [ "$(cat "build/fuzz/$name.rc")" = 0 ] && [ "${runs:-0}" -gt 100 ]; then
		echo "ok $n - fuzz $name: $runs runs in $seconds s"
	else
		echo "not ok $n - fuzz $name"
		tail -n 40 "build/fuzz/$name.log" | sed 's/^/# /'
		failed=1
	fi
done
echo "1..$n"
exit $failed
