#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A directory of real files served as a virtual SSD in one process: examples/ssd_of_files.c.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d build/demo-host.XXXXXX)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/files"
find doc lib core vssd kernel -maxdepth 1 -type f -size +4k | sort | head -n 24 |
	while read -r file; do cp "$file" "$dir/files/"; done
n=$(find "$dir/files" -type f | wc -l)
(cd "$dir/files" && sha256sum -- *) >"$dir/sums"
cat >"$dir/config.json" <<JSON
{
  "seed": 7,
  "namespaces": [
    { "dir": "$PWD/$dir/files", "readonly": true },
    { "file": "$PWD/$dir/sync", "size": "24M", "lba": 4096 },
    { "file": "$PWD/$dir/async", "size": "24M" }
  ],
  "faults": [
    { "action": "status", "status": 6, "opcode": 1, "ppm": 3000 },
    { "action": "status", "status": 641, "opcode": 2, "ppm": 3000 },
    { "action": "delay", "delay_ns": 2000000, "ppm": 2000 },
    { "action": "hang", "opcode": 2, "nsid": $((n + 2)), "skip": 1000, "count": 2 }
  ]
}
JSON
echo
echo "   $n files of this tree, and two empty ones, as the $((n + 2)) namespaces of one SSD"
build/ssd_of_files "$dir/config.json" "$n"
(cd "$dir/files" && sha256sum --quiet -c ../sums)
echo "   the files are as they were, byte for byte (SHA-256)"
for ((nsid = 1; nsid <= n; nsid++)); do
	file=$(find "$dir/files" -type f -printf '%f\n' | LC_ALL=C sort | sed -n "${nsid}p")
	size=$(stat -c %s "$dir/files/$file")
	build/snvme read "vssd:file=$PWD/$dir/files/$file" | head -c "$size" | cmp - "$dir/files/$file"
done
echo "   and read alike by snvme(1), each through a queue of its own"
echo
echo "   A small flash SSD: 4 dies, 15 % over-provisioning, 4 MiB of write buffer"
cat >"$dir/flash.json" <<JSON
{
  "namespaces": [ { "ram": "128M", "lba": 4096 } ],
  "timing": { "model": "flash", "channels": 2, "dies": 2, "page": 4096, "pages": 64,
    "read_ns": 50000, "write_ns": 200000, "erase_ns": 2000000, "bytes_per_us": 400,
    "spare_permille": 150, "buffer": 4194304, "buffer_ns": 5000 }
}
JSON
build/ssd_of_files cliff "vssd:config=$PWD/$dir/flash.json"
echo
