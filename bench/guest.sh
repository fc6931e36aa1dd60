#!/bin/bash
# SPDX-License-Identifier: MIT
#
# usage: bench/guest.sh [KERNEL [IOMMU [TURNS [SECONDS [CASES]]]]]; IOMMU is off or on, CASES a pattern, such as
# 4k-qd32 or vssd:
# Runs tests/guest/bench.sh in a guest and reports: a table, and build/bench/guest-*.json.
set -euo pipefail
cd "$(dirname "$0")/.."

kernel=${1:-6.1}
iommu=${2:-off}
out=build/guest-run/bench-$kernel-iommu-$iommu
json=build/bench/guest-$kernel-iommu-$iommu.json
options=(--kernel "$kernel" --out "$out" --stream)
[ "$iommu" = off ] || options+=(--iommu)
mkdir -p build/bench
scripts/guest.sh "${options[@]}" -- bench.sh "${3:-3}" "${4:-2}" "${5:-.}" |
	grep --line-buffered '^#' || true
grep -q '^guest: exit 0' "$out/test.log" || { tail -n 20 "$out/test.log"; exit 1; }
python3 bench/guest.py "$kernel, IOMMU $iommu" "$out/test.log" "$json"
