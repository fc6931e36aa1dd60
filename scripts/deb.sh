#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Debian packages from a copy of the tree, in build/deb.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^#define SNVME_VERSION "\(.*\)"/\1/p' include/snvme/snvme.h)
[ "$(dpkg-parsechangelog -S Version)" = "$version" ] || {
	echo "deb.sh: debian/changelog is of $(dpkg-parsechangelog -S Version), include/snvme/snvme.h of $version" >&2
	exit 1
}
out=$PWD/build/deb
rm -rf "$out"
mkdir -p "$out/snvme-$version"
tar -c --exclude=./build --exclude=./.git . | tar -x -C "$out/snvme-$version"
cd "$out/snvme-$version"
dpkg-buildpackage -us -uc -b -j"$(nproc)" >"$out/log" 2>&1 || {
	tail -n 40 "$out/log" >&2
	exit 1
}
rm -rf "$out/snvme-$version"
ls "$out"/*.deb
