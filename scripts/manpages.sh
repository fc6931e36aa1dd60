#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Man pages of the API, sections 3 and 3type, a page for each function and structure, from the comments in its headers, by the
# kernel's own kernel-doc (linux-kbuild-VERSION, which the headers of Debian's kernels bring along).
#
#   manpages.sh DIR
set -eu
cd "$(dirname "$0")/.."
out=$1

tool=$(find /usr/lib/linux-kbuild-*/scripts /usr/src/linux-headers-*/scripts -name kernel-doc 2>/dev/null | sort -V | head -n 1)
[ -n "$tool" ] || {
	echo "manpages.sh: no kernel-doc here: install linux-kbuild-6.1" >&2
	exit 1
}
mkdir -p "$out"
rm -f "$out"/*.3 "$out"/*.3type
for header in snvme/snvme.h snvme/gpu/host.h snvme/gpu/queue.h; do
	# Its date is the header's.
	KBUILD_BUILD_TIMESTAMP=$(date -u -r "include/$header") "$tool" -man -Werror "include/$header" |
		awk -v out="$out" -v header="$header" '
			/^\.TH / {
				split($0, part, "\"")
				type = part[2] == "Kernel API"
				name = type ? part[4] : part[2]
				sub(/^struct /, "", name)
				file = out "/" name (type ? ".3type" : ".3")
				printf ".TH \"%s\" %s \"%s\" snvme \"Library Functions Manual\"\n", name,
					type ? "3type" : "3", part[6] >file
				next
			}
			{ print >file }
			/^\.SH SYNOPSIS/ { printf ".B #include <%s>\n.sp\n", header >file }'
done
