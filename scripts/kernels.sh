#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Debian's own kernels, for the guests. Nothing is ever installed: a kernel image that the machine
# does not have is downloaded and unpacked into a cache.
#
#   kernels.sh version SERIES   the exact version, as the installed headers name it
#   kernels.sh build SERIES     the directory to build modules in
#   kernels.sh root SERIES      a directory with boot/vmlinuz-VERSION and lib/modules/VERSION;
#                               in the cache with boot/vmlinux-VERSION too, if that boots faster
#
# SERIES is 6.1, 6.12, ..., or debug: what debug-kernel.sh has built. Cache: ${SNVME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/snvme}
set -euo pipefail

die() {
	echo "kernels.sh: $*" >&2
	exit 1
}

cache=${SNVME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/snvme}
debug=$cache/debug-kernel

# The newest version of a series of which the headers are installed; no -rt, no -cloud flavour.
version() {
	local build newest

	if [ "$1" = debug ]; then
		cat "$debug/version" 2>/dev/null || die "no debug kernel here: run scripts/debug-kernel.sh"
		return
	fi
	newest=$(for build in /lib/modules/"$1".*-amd64/build; do
		[ -e "$build/Module.symvers" ] && basename "$(dirname "$build")"
	done | grep -Ev -- '-(rt|cloud)-amd64$' | sort -V | tail -n 1) || true
	[ -n "$newest" ] || die "no headers of a $1 kernel here: run scripts/install-deps.sh"
	echo "$newest"
}

# An emulated CPU takes seconds over xz: unpack such a kernel here, by the offsets in its header
# (Documentation/arch/x86/boot.rst).
extract() {
	local vmlinuz=$1 vmlinux=$2 sectors offset length

	sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$vmlinuz")
	read -r offset length < <(od -An -tu4 -j $((0x248)) -N 8 "$vmlinuz")
	dd if="$vmlinuz" bs=1M iflag=skip_bytes,count_bytes status=none \
		skip=$(((sectors + 1) * 512 + offset)) count="$length" |
		xz -dc --single-stream >"$vmlinux" 2>/dev/null || rm -f "$vmlinux"
}

download() (
	local ver=$1 dest=$2 tmp

	mkdir -p "$(dirname "$dest")"
	tmp=$(mktemp -d "$dest.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	echo "kernels.sh: downloading linux-image-$ver" >&2
	# The user that apt drops to cannot write into a private cache.
	(cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "linux-image-$ver" >&2) ||
		die "linux-image-$ver cannot be downloaded; if its headers are old, upgrade them"
	dpkg-deb -x "$tmp"/linux-image-*.deb "$tmp/root"
	extract "$tmp/root/boot/vmlinuz-$ver" "$tmp/root/boot/vmlinux-$ver"
	depmod -b "$tmp/root" "$ver"
	# Whoever comes second finds the first one's directory: it is as good.
	mv -T "$tmp/root" "$dest" 2>/dev/null || [ -d "$dest" ]
)

build() {
	local ver

	ver=$(version "$1")
	if [ "$1" = debug ]; then
		echo "$debug/source"
	else
		echo "/lib/modules/$ver/build"
	fi
}

root() {
	local ver dest

	ver=$(version "$1")
	if [ "$1" = debug ]; then
		echo "$debug/root"
		return
	fi
	if [ -r "/boot/vmlinuz-$ver" ] && [ -e "/lib/modules/$ver/modules.dep" ]; then
		echo /
		return
	fi
	dest=$cache/kernel-$ver
	[ -d "$dest" ] || download "$ver" "$dest"
	echo "$dest"
}

[ $# -eq 2 ] || die "usage: kernels.sh version|build|root SERIES"
case $1 in
version | build | root) "$1" "$2" ;;
*) die "no such command: $1" ;;
esac
