#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cppcheck on the library and tools, sparse on the modules for each kernel, mandoc on the man pages.
set -euo pipefail
cd "$(dirname "$0")/.."

cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
	--suppress=missingIncludeSystem --std=c11 -D__x86_64__ -D_GNU_SOURCE \
	-Iinclude -Iinclude/uapi -Icore -Ilib -Ivssd -i vssd/kernel lib tools vssd
mandoc -Tlint -W warning doc/snvme.1 doc/snvme.4 doc/vssd.4
for series in 6.1 6.12; do
	version=$(scripts/kernels.sh version $series)
	for nvidia in "" "$PWD/tests/kernel"; do
		tmp=$(mktemp -d)
		cp -r kernel include core "$tmp/"
		make -s -C "/lib/modules/$version/build" M="$tmp/kernel" C=2 CF=-D__CHECK_ENDIAN__ \
			NVIDIA_P2P="$nvidia" KBUILD_MODPOST_WARN="${nvidia:+1}" modules \
			>"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
		if grep -E 'kernel/[a-z]+\.[ch]:.*(warning|error)' "$tmp/log"; then
			exit 1
		fi
		rm -rf "$tmp"
	done
	tmp=$(mktemp -d)
	mkdir "$tmp/vssd"
	cp -r include core "$tmp/"
	cp vssd/*.[ch] vssd/kernel/* "$tmp/vssd"
	make -s -C "/lib/modules/$version/build" M="$tmp/vssd" C=2 CF=-D__CHECK_ENDIAN__ modules >"$tmp/log" 2>&1 ||
		{ cat "$tmp/log"; exit 1; }
	if grep -E 'vssd/(main|ssd|bus|memory|memmap|file)\.c:.*(warning|error)' "$tmp/log"; then
		exit 1
	fi
	rm -rf "$tmp"
done
echo "lint: clean"
