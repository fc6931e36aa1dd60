#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The packages of build/deb in a Debian 12 that debootstrap makes and that has nothing else: they install, the tool and the
# library work, DKMS builds both modules for 6.1 and 6.12 without a warning, and all goes again. As root.
set -u
cd "$(dirname "$0")/../.." || exit 1
version=$(sed -n 's/^#define SNVME_VERSION "\(.*\)"/\1/p' include/snvme/snvme.h)
tests=0 failed=0

# All mounts are in a namespace of our own, and end with us.
[ "${1-}" = inside ] || exec unshare --mount --propagation private "$0" inside

root=$(mktemp -d "${TMPDIR:-/var/tmp}/snvme-deb.XXXXXX")
# shellcheck disable=SC2317 # the trap calls it
end() {
	umount -R "$root/proc" "$root/dev" 2>/dev/null
	rm -rf --one-file-system "$root"
}
trap end EXIT

# try NAME COMMAND...: ends with 0; what it says is shown if it does not.
try() {
	local name=$1 output

	shift
	tests=$((tests + 1))
	if output=$("$@" 2>&1 </dev/null); then
		echo "ok $tests - $name"
		return 0
	fi
	echo "not ok $tests - $name"
	tail -n 30 <<<"$output" | sed 's/^/# /'
	failed=1
	return 1
}

done_testing() {
	echo "1..$tests"
	exit "$failed"
}

inside() {
	DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"
}

# Debian's own archives, from where this machine has them.
archives() {
	apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' "Created-By: Packages" |
		awk '$1 == "Debian" && $4 == "main" { print "deb", $2, $3, $4 }' | sort -u
}

make_root() {
	local first

	first=$(archives | awk '$3 == "bookworm" { print $2; exit }')
	[ -n "$first" ] || { echo "this machine's sources have no bookworm"; return 1; }
	debootstrap --variant=minbase bookworm "$root" "$first" || return
	archives >"$root/etc/apt/sources.list"
	cp /etc/resolv.conf "$root/etc/"
	cp /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null
	mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev"
}

try "a Debian 12" make_root || done_testing
mkdir "$root/packages"
cp build/deb/*.deb "$root/packages/"
install_all() {
	inside apt-get update && inside sh -c 'apt-get install -y --no-install-recommends /packages/*.deb \
		linux-headers-amd64 linux-headers-6.12-amd64 gcc libc6-dev pkg-config man-db'
}
try "install" install_all || done_testing

try "the tool" inside snvme --version
try "a virtual SSD through it" inside snvme bench vssd:ram,size=16M --rw=write --bs=4k --verify=lba
cat >"$root/packages/user.c" <<'END'
#include <stdio.h>
#include <snvme/snvme.h>

int main(void)
{
	struct snvme_ctrl *ctrl;
	struct snvme_queue *queue;
	struct snvme_mem *mem;
	int ret = snvme_open("vssd:ram,size=1M", &ctrl);

	if (!ret)
		ret = snvme_mem_alloc(ctrl, 4096, &mem);
	if (!ret)
		ret = snvme_queue_create(ctrl, NULL, &queue);
	if (!ret)
		ret = snvme_write(queue, 0, snvme_mem_addr(mem), 4096, 0);
	puts(snvme_strerror(ret));
	return ret != 0;
}
END
# shellcheck disable=SC2016 # it is the shell inside that runs pkg-config
for static in '' --static; do
	try "a program with the library${static:+, static}" inside sh -ec "cc -Wall -Werror -o /packages/user \
		/packages/user.c ${static:+-Wl,-Bstatic -lsnvme -Wl,-Bdynamic} \$(pkg-config --cflags --libs $static snvme) && /packages/user"
done
for page in "1 snvme" "3 snvme_open" "3type snvme_io" "4 snvme" "4 vssd"; do
	try "man $page" inside sh -c "ls /usr/share/man/man${page%% *}/${page#* }.${page%% *}.gz ||
		ls /usr/share/man/man3/${page#* }.${page%% *}.gz"
done
try "the group snvme" inside getent group snvme
try "a rule of udev" inside grep -q 'GROUP="snvme"' /usr/lib/udev/rules.d/60-snvme.rules
try "completion" inside bash -n /usr/share/bash-completion/completions/snvme

kernels=$(inside sh -c 'ls -d /lib/modules/*/build' | cut -d / -f 4)
for kernel in $kernels; do
	try "DKMS: $kernel" inside sh -c "dkms status snvme/$version -k $kernel | grep installed ||
		dkms install snvme/$version -k $kernel"
	log=$root/var/lib/dkms/snvme/$version/$kernel/x86_64/log/make.log
	try "without a warning" sh -c "test -s '$log' && ! grep -i -n warning '$log'"
	for module in snvme vssd; do
		try "$module.ko is for it" inside sh -c "/sbin/modinfo -k $kernel -F vermagic $module | grep '^$kernel '"
	done
done
tests=$((tests + 1))
series=$(grep -o '^6\.[0-9]*' <<<"$kernels" | sort -u | tr '\n' ' ')
if [ "$series" = "6.1 6.12 " ]; then
	echo "ok $tests - both kernels were there"
else
	echo "not ok $tests - both kernels were there: $series"
	failed=1
fi

try "purge" inside apt-get purge -y snvme snvme-dkms libsnvme-dev libsnvme0
left() {
	find "$root/usr" "$root/lib/modules" "$root/var/lib/dkms" -name '*snvme*' -o -name 'vssd*' | grep . && return 1
	return 0
}
try "nothing is left" left
done_testing
