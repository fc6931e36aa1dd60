#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What `make install` puts down: programs build against it, each exported function has a manual page, the completion is
# bash, and the tree for DKMS has all that the modules include.
set -u
cd "$(dirname "$0")/../.." || exit 1
# Of the make that runs the tests; what it says of its jobs is not what is looked for.
unset MAKEFLAGS MFLAGS MAKELEVEL
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0 failed=0

# try NAME COMMAND...
try() {
	local name=$1 output

	shift
	n=$((n + 1))
	if output=$("$@" 2>&1); then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		tail -n 20 <<<"$output" | sed 's/^/# /'
		failed=1
	fi
}

install_all() {
	make -s install install-dkms DESTDIR="$dir" PREFIX=/usr LIBDIR=/usr/lib/here
}
try "install" install_all
export PKG_CONFIG_PATH=$dir/usr/lib/here/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dir
cat >"$dir/user.c" <<'END'
#include <snvme/snvme.h>

int main(void)
{
	struct snvme_ctrl *ctrl;

	return snvme_open("vssd:ram,size=1M", &ctrl);
}
END
for cc in gcc g++; do
	# shellcheck disable=SC2046 # words
	try "a program, $cc" $cc -Wall -Werror -o "$dir/user" "$dir/user.c" $(pkg-config --cflags --libs snvme)
done
try "it runs" env LD_LIBRARY_PATH="$dir/usr/lib/here" "$dir/user"
# shellcheck disable=SC2046
try "linked without the shared one" gcc -o "$dir/static" "$dir/user.c" $(pkg-config --cflags snvme) \
	"$dir/usr/lib/here/libsnvme.a" $(sed -n 's/^Libs.private: //p' "$dir/usr/lib/here/pkgconfig/snvme.pc")
try "it runs" "$dir/static"
missing=$(nm -D --defined-only "$dir/usr/lib/here/libsnvme.so.0" | sed -n 's/.* T \([a-z_]*\).*/\1/p' | while read -r function; do
	[ -s "$dir/usr/share/man/man3/$function.3" ] || echo "$function"
done)
try "a page for each function ${missing:+but }$missing" test -z "$missing"
for page in "$dir"/usr/share/man/man3/*; do
	man -l --warnings "$page" 2>&1 >/dev/null | grep -q . && bad+=" ${page##*/}"
done
try "which man(1) likes ${bad:+but }${bad-}" test -z "${bad-}"
try "completion" bash -n "$dir/usr/share/bash-completion/completions/snvme"
complete_words() {
	PATH=$dir/usr/sbin:$PATH bash -c '
		. /usr/share/bash-completion/bash_completion 2>/dev/null || exit 77
		. "$1"
		COMP_WORDS=(snvme '"$1"') COMP_CWORD='"$2"' COMP_LINE="snvme '"$1"'" COMP_POINT=100
		_snvme 2>/dev/null
		echo " ${COMPREPLY[*]} "' - "$dir/usr/share/bash-completion/completions/snvme"
}
if [ -e /usr/share/bash-completion/bash_completion ]; then
	try "completes commands" grep -q ' bench ' <<<"$(complete_words be 1)"
	try "completes options" grep -q -e ' --iodepth= ' <<<"$(complete_words 'bench --iod' 2)"
	try "completes values" grep -q ' randread ' <<<"$(complete_words 'bench --rw randr' 3)"
else
	n=$((n + 1))
	echo "ok $n - completes # SKIP bash-completion is not installed"
fi
version=$("$dir/usr/sbin/snvme" --version | cut -d ' ' -f 2)
try "the tree of version $version" test -s "$dir/usr/src/snvme-$version/dkms.conf"
for kernel in /lib/modules/6.*/build; do
	[ -e "$kernel/Module.symvers" ] || continue
	cp -r "$dir/usr/src/snvme-$version" "$dir/tree"
	try "modules from it, $(basename "$(dirname "$kernel")")" sh -c "make -s -C $kernel M=$dir/tree CONFIG_DEBUG_INFO_BTF_MODULES= \
		modules 2>$dir/said && ! grep . $dir/said && test -s $dir/tree/kernel/snvme.ko -a -s $dir/tree/vssd/vssd.ko"
	rm -rf "$dir/tree"
done
echo "1..$n"
exit $failed
