#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Beyond one machine: the kernel's NVMe target exports the disk by TCP, and an initiator, here the kernel's own by the
# loopback device, mounts the file system on it. A user queue on the disk itself reads and writes the same files.
#
# guest: --module nvmet-tcp
# guest: --module nvme-tcp
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

nqn=nqn.2014-08.org.nvmexpress:uuid:4d2f9d6a-1f4c-4b0e-9c39-0c0c6d2f7a11
host=8c1b1a5e-3f0d-4c0b-8a34-2f9d11c0c9b2
target=/sys/kernel/config/nvmet

export_disk() {
	local subsystem=$target/subsystems/$nqn port=$target/ports/1

	findmnt /sys/kernel/config >/dev/null || mount -t configfs configfs /sys/kernel/config
	mkdir "$subsystem" "$subsystem/namespaces/1" "$port" &&
		echo 1 >"$subsystem/attr_allow_any_host" &&
		echo -n "/dev/$disk" >"$subsystem/namespaces/1/device_path" &&
		echo 1 >"$subsystem/namespaces/1/enable" &&
		echo tcp >"$port/addr_trtype" && echo ipv4 >"$port/addr_adrfam" &&
		echo 127.0.0.1 >"$port/addr_traddr" && echo 4420 >"$port/addr_trsvcid" &&
		ln -s "$subsystem" "$port/subsystems/"
}

export_end() {
	rm "$target/ports/1/subsystems/$nqn" && rmdir "$target/ports/1" "$target/subsystems/$nqn/namespaces/1" \
		"$target/subsystems/$nqn"
}

# The initiator's controller, and its disk.
find_remote() {
	local controller

	controller=$(grep -lxs "$nqn" /sys/class/nvme/nvme*/subsysnqn) || return
	remote=$(find_disk "$(basename "$(dirname "$controller")")" 1) && [ -b "/dev/${remote}p1" ]
}

# each_extent FILE COMMAND...: COMMAND with the place on the disk and the length of each piece of FILE, in its order.
each_extent() {
	local file=$1 physical length

	shift
	while read -r _ physical length _; do
		"$@" "$physical" "$length" || return
	done < <(snvme files "$file" | tail -n +3)
}

piece() {
	snvme read "/dev/$disk" --offset="$1" --size="$2"
}

# same FILE: what a queue of the disk's own reads at its places is what the initiator reads.
same() {
	each_extent "$1" piece | head -c "$(stat -c %s "$1")" | cmp - "$1"
}

prepare
try "files" sh -c "head -c 3000000 /dev/urandom >/mnt/one && cp /usr/bin/fio /mnt/two && mkdir /mnt/fio"
try "umount" umount /mnt
try "export the disk" export_disk || done_testing
busybox ip link set lo up
try "an initiator connects" nvme connect -t tcp -a 127.0.0.1 -s 4420 -n "$nqn" --hostid="$host" \
	--hostnqn="nqn.2014-08.org.nvmexpress:uuid:$host" || done_testing
wait_until find_remote && ok "it has the disk" || { not_ok "it has the disk"; done_testing; }
try "snvme bind sees that the disk is taken" sh -c "snvme bind $name 2>&1 | grep -q 'NVMe target'"
try "the initiator mounts its file system" mount "/dev/${remote}p1" /mnt || done_testing

steady_start "/dev/$name" 100000 $((16 << 20)) $((8 << 20)) 1 1 || { not_ok "an owner"; done_testing; }
fio_start /mnt/fio 4
differing=0
for ((turn = 0; turn < 10; turn++)); do
	same /mnt/one && same /mnt/two || differing=$((differing + 1))
done
is "files read by a queue beside it, 10 times, while the initiator writes others" "$differing" 0
try "a file that the initiator makes" sh -c "head -c 5000000 /dev/urandom >/mnt/three && sync /mnt/three"
try "is read" same /mnt/three

# The other way: what a queue writes in place the initiator reads, once it has nothing of it in its cache.
head -c 3002368 /dev/urandom >/tmp/new
at=0
put() {
	tail -c +$((at + 1)) /tmp/new | head -c "$2" | snvme write "/dev/$disk" --offset="$1" --size="$2" --force || return
	at=$((at + $2))
}
try "a file is written in place" each_extent /mnt/one put
try "nothing of it stays cached" sh -c "sync && echo 1 >/proc/sys/vm/drop_caches"
try "the initiator reads it" cmp -n 3000000 /tmp/new /mnt/one
fio_stop
steady_end
is "an owner of a queue beside all that: $steady_said" "$?" 0
given_back
try "umount" umount /mnt
try "disconnect" nvme disconnect -n "$nqn"
try "the export ends" export_end
try "fsck" e2fsck -fn "/dev/${disk}p1"
try "unload the module" rmmod snvme
done_testing
