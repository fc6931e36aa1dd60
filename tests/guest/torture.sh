#!/bin/bash
# SPDX-License-Identifier: MIT
#
# torture.sh [SECONDS [SEED]]: files on ext4 and xfs are verified through the stock path while owners of
# queues come and go, are killed, live through resets and errors of the medium, and lose their memory in
# another device. In the end every byte has been looked at, nothing is left behind, and a line says how
# often each happened.
#
# guest: --disk serial=test,bad=100000
# guest: --bar 64M
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

seconds=${1:-60} seed=${2:-1}
RANDOM=$seed
disk=$(disk_of test)
name=$(ctrl_of test)
bar=$(bar_device) || { not_ok "there is a device with a BAR"; done_testing; }
mib=$((1 << 20))

# The first 64 MiB are the owners'; a block there cannot be read.
try "partitions" sh -c "printf 'start=64MiB,size=320MiB\nstart=384MiB\n' | sfdisk -q /dev/$disk" || done_testing
try "mkfs.ext4" mkfs.ext4 -q -F "/dev/${disk}p1" || done_testing
try "mkfs.xfs" mkfs.xfs -q -f "/dev/${disk}p2" || done_testing
mkdir -p /run/xfs
try "mount" mount "/dev/${disk}p1" /mnt || done_testing
try "mount" mount "/dev/${disk}p2" /run/xfs || done_testing
try "load the module" load_snvme || done_testing
try "load the exporter" insmod "/lib/modules/$(uname -r)/bar_dmabuf.ko" || done_testing
before=$(pins)

fio_start /mnt:/run/xfs 1
owners=() outs=()
for i in 1 2 3; do
	steady_start "/dev/$name" 100000 $((i * 8 * mib)) $((4 * mib)) "$seed$i" 1 100000 ||
		{ not_ok "an owner"; done_testing; }
	owners+=("$steady") outs+=("$steady_out")
done
p2p "/dev/$name" "/dev/$disk" "$bar/resource2" torture "$seconds" >/run/p2p.log 2>&1 &
p2p=$!

end=$((SECONDS + seconds)) resets=0 kills=0 come=0
while [ $SECONDS -lt $end ]; do
	case $((RANDOM % 4)) in
	0)
		echo 1 >"/sys/class/nvme/$name/reset_controller" && resets=$((resets + 1))
		;;
	1 | 2)
		if hog_start "/dev/$name" rw 3600 $((40 * mib)) $((8 * mib)) >/dev/null; then
			sleep "0.$((RANDOM % 10))"
			kill -KILL "$hog"
			kills=$((kills + 1))
		fi
		hog_end
		;;
	3)
		churn "/dev/$name" 5 >/dev/null 2>&1 && come=$((come + 5))
		;;
	esac
	sleep "0.$((RANDOM % 5))"
done
wait_live "$name"
wait "$p2p"
code=$?
is "memory is taken away: $(tail -n 1 /run/p2p.log)" "$code" 0
total=0 lives=0 errors=0 mismatches=0
for i in 0 1 2; do
	steady=${owners[i]} steady_out=${outs[i]}
	steady_end
	is "owner $i: $steady_said" "$?" 0
	total=$((total + $(steady_count I/Os)))
	lives=$((lives + $(steady_count lives)))
	errors=$((errors + $(steady_count errors)))
	mismatches=$((mismatches + $(steady_count mismatches)))
done
fio_stop
given_back
try "umount" umount /mnt /run/xfs
try "e2fsck" e2fsck -fn "/dev/${disk}p1"
try "xfs_repair" xfs_repair -n "/dev/${disk}p2"
try "no dma-buf is left: the exporter goes" rmmod bar_dmabuf
try "unload the module" rmmod snvme
echo "# seed $seed, $seconds s: $total I/Os, $resets resets, $lives lives more, $kills kills," \
	"$come queues made and deleted, $(grep -o '^[0-9]* revocations' /run/p2p.log), $errors errors that were due," \
	"$mismatches mismatches"
done_testing
