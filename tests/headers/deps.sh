#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Who may include whom (doc/architecture.md), the licence line of each file, and prefixes.
set -u
cd "$(dirname "$0")/../.." || exit 1
n=0 failed=0

# none NAME FOUND: ok if nothing was found; else what.
none() {
	local found=$2

	n=$((n + 1))
	if [ -z "$found" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		sed 's/^/# /' <<<"$found"
		failed=1
	fi
}

# includes DIR...: "FILE HEADER" for each #include.
includes() {
	find "$@" -name '*.[ch]' -o -name '*.cu' | xargs -r grep -HE '^[[:space:]]*#[[:space:]]*include' |
		sed -E 's/^([^:]*):.*[<"]([^>"]*)[>"].*/\1 \2/'
}

none "uapi includes only <linux/*>" "$(includes include/uapi | grep -v ' linux/')"
none "core includes uapi and the language, nothing else" "$(includes core |
	grep -Ev ' (linux|asm)/| snvme/(ioctl|nvme)\.h$| (hal|ring|prp|extent)\.h$' |
	grep -Ev ' (errno|stdbool|string|sched|time)\.h$')"
inside='(snvme/(nvme|ioctl)|hal|ring|prp|extent|lib)\.h'
none "the public header includes nothing of the inside" "$(includes include/snvme |
	grep -v '^include/snvme/gpu/impl/' | grep -E " $inside")"
none "the GPU's headers include core, uapi and their own" "$(includes include/snvme/gpu |
	grep -Ev ' (hal|ring|prp|types|warp)\.h$| impl/queue\.h$| snvme/(nvme|ioctl|snvme)\.h$| time\.h$')"
none "kernel does not know lib" "$(includes kernel | grep -E ' (snvme/snvme|lib|tool)\.h|/lib')"
none "lib and gpu do not know kernel" "$(includes lib gpu | grep -E 'kernel/|tool\.h')"
none "tools include the public header and the wire's" "$(includes tools | grep -E " $inside" | grep -v ' snvme/nvme\.h$')"
none "examples and benchmarks include public headers only" "$(includes examples bench |
	grep -v '^bench/gpu\.cu rig\.h' | grep -E " $inside")"
none "vssd includes uapi, hal.h and its own" "$(includes vssd | grep -E ' (ring|prp|extent|lib|tool)\.h$| snvme/(snvme|ioctl)\.h$')"
none "vssd's core is freestanding" "$(includes vssd | grep -Ev '^vssd/(user|gpu|kernel)/' |
	grep -Ev ' (core|vssd|lock|media|pci|hal|linux/types|linux/limits|snvme/nvme|stdbool|stddef|stdint)\.h$')"
none "lib knows vssd's home alone" "$(includes lib | grep -E ' (core|vssd|user)\.h$| user/user\.h')"

# A licence line first in each file; second where the first is an interpreter's.
none "a licence line in each file" "$(
	{ git ls-files 2>/dev/null || find . -type f -not -path './build/*'; } | while read -r file; do
		case $file in
		LICENSES/* | debian/changelog | debian/copyright | debian/*.install | debian/source/format | tests/fuzz/corpus/* | *.md | *.map | *.pc.in) continue ;;
		esac
		head -n 2 "$file" | grep -q 'SPDX-License-Identifier:' || echo "$file"
	done)"
none "the modules are GPL-2.0-only" "$(grep -L 'GPL-2.0-only' kernel/* vssd/kernel/*)"
none "core and vssd's core are GPL-2.0-only OR MIT" "$(grep -LE 'GPL-2.0-only OR MIT' core/* vssd/*.[ch])"
none "uapi has the syscall note" "$(grep -L 'Linux-syscall-note' include/uapi/snvme/*)"

none "no macro without a prefix in an installed header" "$(
	grep -hoE '^#[[:space:]]*define[[:space:]]+[A-Za-z_0-9]+' include/snvme/*.h include/snvme/gpu/*.h include/snvme/gpu/impl/*.h include/uapi/snvme/*.h |
		awk '{ print $NF }' | grep -Ev '^(_UAPI_)?SNVM?E?_')"
none "no type without a prefix in an installed header" "$(
	grep -hoE '^(struct|enum|union)[[:space:]]+[A-Za-z_0-9]+' include/snvme/*.h include/snvme/gpu/*.h include/snvme/gpu/impl/*.h include/uapi/snvme/*.h |
		awk '{ print $2 }' | grep -Ev '^snvm?e?_')"
none "no typedef" "$(grep -rnE '^[[:space:]]*typedef' include core vssd --exclude-dir=without)"
none "the library exports the header's functions, and no other" "$(
	comm -3 <(grep -ohE '\bsnvme_[a-z_]+\(' include/snvme/snvme.h include/snvme/gpu/host.h |
		tr -d '(' | sort -u | grep -vE '^snvme_gpu_(read|write|flush)$') \
		<(nm -D --defined-only build/libsnvme.so | awk '$2 == "T" { sub("@.*", "", $3); print $3 }' | sort))"
echo "1..$n"
exit $failed
