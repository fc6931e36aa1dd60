#!/bin/bash
# SPDX-License-Identifier: MIT
#
# usage: bench/guest.sh [KERNEL [TURNS [SECONDS [CASES]]]]; CASES is a pattern, such as 4k-qd32 or vssd:
# Runs tests/guest/bench.sh in a guest and reports: a table, and build/bench/guest.json.
set -euo pipefail
cd "$(dirname "$0")/.."

kernel=${1:-6.1}
out=build/guest-run/bench-$kernel
mkdir -p build/bench
scripts/guest.sh --kernel "$kernel" --out "$out" --stream -- bench.sh "${2:-3}" "${3:-2}" "${4:-.}" |
	grep --line-buffered '^#' || true
grep -q '^guest: exit 0' "$out/test.log" || { tail -n 20 "$out/test.log"; exit 1; }
python3 bench/guest.py "$kernel" "$out/test.log" build/bench/guest.json
