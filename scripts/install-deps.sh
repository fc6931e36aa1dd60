#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Installs, as root on Debian 12, what building and testing needs and the machine lacks; with "deb", also
# what making and testing packages does.
set -euo pipefail

packages=(
	# building: user space, then the module for both kernels
	build-essential pkg-config libjansson-dev libnvme-dev libssl-dev liburing-dev
	linux-headers-amd64 linux-headers-6.12-amd64
	# checking
	clang libclang-rt-14-dev cppcheck mandoc sparse
	# measuring
	valgrind
	# the guests and what runs in them
	busybox-static cpio e2fsprogs fdisk fio kmod nvme-cli qemu-system-x86 trace-cmd util-linux xfsprogs
	xz-utils zstd
)

[ "${1-}" != deb ] || packages+=(debhelper debootstrap dh-dkms)

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null)
missing=()
for package in "${packages[@]}"; do
	grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "install-deps.sh: as root: apt-get install --no-install-recommends ${missing[*]}" >&2
	exit 1
fi
echo "install-deps.sh: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } \
	>"$log" 2>&1 </dev/null; then
	tail -n 30 "$log" >&2
	echo "install-deps.sh: apt-get failed" >&2
	exit 1
fi
