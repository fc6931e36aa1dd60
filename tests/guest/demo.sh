#!/bin/bash
# SPDX-License-Identifier: MIT
#
# One SSD, two masters. On a mounted ext4 file system fio writes and verifies through the stock nvme
# driver, while another process reads the tree's files through NVMe queues of its own and compares
# SHA-256, and writes and reads back a preallocated file, with no kernel on its path.
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh" >/dev/null
. "${0%/*}/load.sh"
. "${0%/*}/figures.sh"

planned=1		# not a test script
disk=$(disk_of test)
fail() {
	echo "demo: $*"
	exit 1
}
step() {
	echo "   $*"
}

echo
step "Linux $(uname -r); /dev/$disk is run by the kernel's own nvme driver"
mkfs.ext4 -q -F "/dev/$disk" && mount "/dev/$disk" /mnt || fail "no file system"
mkdir /mnt/tree && cp -a /usr/bin /usr/lib /mnt/tree/ || fail "cannot copy the tree"
(cd /usr && find bin lib -type f -exec sha256sum {} +) >/tmp/sums
dd if=/dev/zero of=/mnt/prealloc bs=1M count=64 conv=fsync status=none
sync
step "ext4 on it, mounted, with a tree of $(wc -l </tmp/sums) files, $(du -sm /mnt/tree | cut -f 1) MiB"
load_snvme || fail "snvme.ko does not load"
step "snvme.ko loaded: $(count "$disk" granted_sq) queues granted, the driver has" \
	"$(count "$disk" driver_queues), $(count "$disk" spare_sq) are spare"

step "both at once now"
fio_start /mnt
snvme verify --strict --sums=/tmp/sums /mnt/tree -o json >/tmp/verify.json 2>/tmp/verify.err ||
	fail "the tree differs: $(cat /tmp/verify.err /tmp/verify.json)"
snvme bench --file=/mnt/prealloc --rw=randwrite --bs=4k --iodepth=32 --runtime=8 --verify=lba \
	--force -o json >/tmp/write.json 2>/tmp/bench.err || fail "the preallocated file differs: $(cat /tmp/bench.err /tmp/write.json)"
snvme bench --file=/mnt/prealloc --rw=randread --bs=4k --iodepth=32 --runtime=5 \
	-o json >/tmp/read.json 2>/tmp/bench.err || fail "reading failed: $(cat /tmp/bench.err /tmp/read.json)"
fio_stop >/tmp/fio.result
grep -q '^ok' /tmp/fio.result || fail "$(cat /tmp/fio.result)"
passes=$(cat /run/fio.passes)

rmmod snvme || fail "snvme.ko does not unload"
umount /mnt || fail "cannot unmount"
e2fsck -fn "/dev/$disk" >/tmp/fsck 2>&1 || fail "$(cat /tmp/fsck)"
step "snvme.ko unloaded, file system unmounted, fsck finds it clean"

row() {
	printf '   %-22s %-30s %9s %8s %9s %9s  %s\n' "$@"
}
echo
row who path IOPS MB/s "p50 us" "p99 us" verified
read -r iops bw p50 p99 < <(fio_figures /run/fio.log write)
row "fio, 4k write qd16" "file system, nvme driver" "$iops" "$bw" "$p50" "$p99" \
	"$((passes * 4096)) blocks, crc32c"
read -r iops bw p50 p99 < <(snvme_figures /tmp/write.json write)
row "snvme, 4k write qd32" "extents, own queue" "$iops" "$bw" "$p50" "$p99" \
	"$(json_number /tmp/write.json verified) blocks, own pattern"
read -r iops bw p50 p99 < <(snvme_figures /tmp/read.json read)
row "snvme, 4k read qd32" "extents, own queue" "$iops" "$bw" "$p50" "$p99" "-"
row "snvme, whole files" "extents, own queue" "-" \
	"$(printf %.1f "$(json_number /tmp/verify.json mb_per_s)")" "-" "-" \
	"$(json_number /tmp/verify.json files) files, SHA-256"
echo
echo "   0 mismatches: one SSD, two masters, the same bytes."
exit 0
