#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Each header alone, in each language and compiler that includes it; and in a kernel module for each
# kernel, against the kernel's own header (compare_linux.c).
set -u
cd "$(dirname "$0")/../.." || exit 1
n=0 failed=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# result NAME COMMAND...: ok if the command succeeds; its output if not.
result() {
	local name=$1

	shift
	n=$((n + 1))
	if "$@" >"$tmp/out" 2>&1; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$tmp/out" | tail -n 30
		failed=1
	fi
}

# compile COMPILER LANGUAGE HEADER FLAG...
compile() {
	printf '#include "%s"\nint snv_matrix_unit;\n' "$3" >"$tmp/unit.$2"
	"$1" "${@:4}" -Iinclude/uapi -Iinclude -Icore -c -o "$tmp/unit.o" "$tmp/unit.$2"
}

public=(include/uapi/snvme/*.h include/snvme/*.h include/snvme/gpu/*.h include/snvme/gpu/impl/*.h)
core=(core/*.h)
warn=(-Wall -Wextra -Werror -Wno-unused-function)
for header in "${public[@]}" "${core[@]}"; do
	for cc in gcc clang; do
		result "$header in $cc, C11" compile $cc c "$PWD/$header" -std=gnu11 "${warn[@]}"
	done
done
for header in "${public[@]}" "${core[@]}"; do
	for cc in g++ clang++; do
		result "$header in $cc, C++17" compile $cc cc "$PWD/$header" -std=gnu++17 "${warn[@]}"
	done
done

nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null)
for header in "${public[@]}" "${core[@]}"; do
	if [ -n "$nvcc" ]; then
		result "$header in nvcc, CUDA C" compile "$nvcc" cu "$PWD/$header" -arch=native
	else
		echo "ok $((n += 1)) - $header in nvcc, CUDA C # SKIP no nvcc here"
	fi
done

for build in /lib/modules/6.1.*/build /lib/modules/6.12.*/build; do
	[ -e "$build/Module.symvers" ] || continue
	version=$(basename "$(dirname "$build")")
	mkdir "$tmp/$version"
	cp tests/headers/compare_linux.c "$tmp/$version/"
	echo "obj-m := compare_linux.o
ccflags-y := -I$PWD/include/uapi -I$PWD/core -Wall -Wextra -Wno-unused-parameter \
	-Wno-missing-field-initializers -Wno-sign-compare -Wno-type-limits" >"$tmp/$version/Kbuild"
	result "Kbuild $version, against <linux/nvme.h>" \
		make -s -C "$build" M="$tmp/$version" modules
	result "sparse, $version" bash -c "make -s -C $build M=$tmp/$version clean &&
		make -s -C $build M=$tmp/$version C=2 CF=-D__CHECK_ENDIAN__ modules 2>&1 |
		grep -E 'compare_linux|snvme|core/' | grep -E 'warning|error' && exit 1 || exit 0"
done
echo "1..$n"
exit $failed
