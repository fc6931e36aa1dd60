#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Builds the guest's debug kernel from Debian's source package (KASAN, lockdep, kmemleak, UBSAN, fault
# injection: scripts/debug-kernel.config) into the cache, where kernels.sh finds it as series "debug".
# Half an hour on two processors; nothing is done when it is there already.
set -euo pipefail

series=6.12
here=$(cd "$(dirname "$0")" && pwd)
cache=${SNVME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/snvme}/debug-kernel
config=$here/debug-kernel.config

die() {
	echo "debug-kernel.sh: $*" >&2
	exit 1
}

install_tools() {
	local tools=(bc bison build-essential dwarves flex libelf-dev libssl-dev rsync xz-utils) missing=() tool

	for tool in "${tools[@]}"; do
		dpkg-query -W -f '${db:Status-Status}' "$tool" 2>/dev/null | grep -qx installed || missing+=("$tool")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" -eq 0 ] || die "as root: apt-get install --no-install-recommends ${missing[*]}"
	echo "debug-kernel.sh: installing ${missing[*]}"
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Every option that is asked for, as the kernel's own rules left it.
check_config() {
	local line missing=0

	while read -r line; do
		case $line in
		CONFIG_*=n) ! grep -q "^${line%=n}=" .config || { echo "not off: $line"; missing=1; } ;;
		CONFIG_*) grep -qx "$line" .config || { echo "not on: $line"; missing=1; } ;;
		esac
	done <"$config"
	[ "$missing" -eq 0 ] || die "the kernel does not take this configuration"
}

key="$series $(sha256sum <"$config")"
[ "$(cat "$cache/key" 2>/dev/null)" != "$key" ] || exit 0
install_tools
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ "$(cat "$cache/key" 2>/dev/null)" != "$key" ] || exit 0
rm -rf "$cache"/{key,version,source,root,deb}
mkdir "$cache"/{source,root,deb}
cd "$cache/deb"
apt-get -qq -o APT::Sandbox::User=root download "linux-source-$series" ||
	die "linux-source-$series cannot be downloaded"
dpkg-deb -x ./*.deb .
tar -C "$cache/source" --strip-components=1 -xJf "usr/src/linux-source-$series.tar.xz"
cd "$cache/source"
rm -rf "$cache/deb"
make -s KCONFIG_ALLCONFIG="$config" allnoconfig
check_config
make -s -j"$(nproc)" LOCALVERSION=-debug vmlinux bzImage modules
release=$(make -s LOCALVERSION=-debug kernelrelease)
make -s LOCALVERSION=-debug INSTALL_MOD_PATH="$cache/root" modules_install
mkdir "$cache/root/boot"
cp arch/x86/boot/bzImage "$cache/root/boot/vmlinuz-$release"
echo "$release" >"$cache/version"
echo "$key" >"$cache/key"
