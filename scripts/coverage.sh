#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Line coverage of the virtual SSD's core by its unit tests: a line for each file, and the sum, which
# has to be 90 % or more. And of the library's bring-up of a controller by its own test, with faults: all of it.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/build/coverage
rm -rf "$dir"
mkdir -p "$dir"
cflags="-Iinclude -Iinclude/uapi -Icore -Ivssd -Itests -Ilib -D_GNU_SOURCE -std=gnu11 -O0 -g --coverage -w"
for source in vssd/*.c; do
	object=$dir/$(basename "$source" .c).o
	# shellcheck disable=SC2086
	gcc $cflags -c -o "$object" "$source"
done
# shellcheck disable=SC2086
for source in vssd/user/*.c lib/*.c gpu/*.c; do
	gcc ${cflags/--coverage/} -c -o "$dir/$(tr / _ <<<"${source%.c}").o" "$source"
done
rm -f "$dir/libcore.a"
ar rcs "$dir/libcore.a" "$dir"/*.o
for test in tests/unit/vssd_*.c tests/unit/lib_ctrl.c; do
	name=$(basename "$test" .c)
	# shellcheck disable=SC2086
	gcc $cflags -o "$dir/$name" "$test" "$dir/libcore.a" -luring -ljansson -lcrypto -lpthread -lm -ldl
	(cd "$dir" && timeout 300 "./$name" >"$name.log" 2>&1) || echo "coverage: $name failed" >&2
done
# A test that includes a source file has counted it for itself: the better of the two is taken.
for data in "$dir"/*.gcda; do
	(cd "$dir" && gcov -n "$data" 2>/dev/null)
done | awk '
	/^File/ { file = ""; if (match($0, /(vssd\/[a-z]+|lib\/ctrl(_mem)?)\.c/)) file = substr($0, RSTART, RLENGTH) }
	/^Lines executed/ && file { split($0, a, "[:% ]+"); if (a[3] >= hit[file]) hit[file] = a[3]
		lines[file] = $NF; file = "" }
	END { for (file in lines) print file, hit[file], lines[file] }' | sort |
	awk '{ printf "%-22s %6.2f %% of %5d lines\n", $1, $2, $3 }
		$1 ~ "^lib/" { if ($2 < 100) unreached = 1; next }
		{ hit += $2 * $3 / 100; all += $3 }
		END { printf "%-22s %6.2f %% of %5d lines\n", "the core", 100 * hit / all, all
			exit !all || hit / all < 0.9 || unreached }'
