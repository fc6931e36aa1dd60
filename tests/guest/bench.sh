#!/bin/bash
# SPDX-License-Identifier: MIT
#
# QEMU's SSD, and vssd.ko's beside it, each in the same run: the stock driver alone, the stock driver with snvme.ko loaded
# and a queue open but idle, a user queue alone, and both at once; where an IOMMU is on, QEMU's with vfio-pci, too.
# Each figure is the median of several turns, taken in alternation, so that a slow moment of the machine meets all alike. Prints
# "row SSD CASE WHO METRIC VALUE UNIT" lines for bench/guest.py.
#
# guest: --timeout 1800
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh" >/dev/null
. "${0%/*}/load.sh"
. "${0%/*}/figures.sh"

planned=1		# not a test script
turns=${1:-3}
seconds=${2:-2}
only=${3:-.}		# a pattern of SSD:CASE, such as vssd:randread
size=256m

row() {
	echo "row $ssd $*"
}

# figures CASE WHO "IOPS MB/s P50 P99"
figures() {
	local iops bw p50 p99

	read -r iops bw p50 p99 <<<"$3"
	row "$1" "$2" iops "$iops" 1/s
	row "$1" "$2" bandwidth "$bw" MB/s
	row "$1" "$2" p50 "$p50" us
	row "$1" "$2" p99 "$p99" us
}

direction() {
	case $1 in
	*read) echo read ;;
	*) echo write ;;
	esac
}

# stock CASE WHO RW BS DEPTH OFFSET
stock() {
	fio --name=bench --filename="/dev/$disk" --rw="$3" --bs="$4" --iodepth="$5" --offset="$6" \
		--size=$size --ioengine=io_uring --direct=1 --time_based --runtime="$seconds" \
		--output-format=terse --terse-version=3 >/tmp/fio.out 2>&1 ||
		{ cat /tmp/fio.out; exit 1; }
	figures "$1" "$2" "$(fio_figures /tmp/fio.out "$(direction "$3")")"
}

# user CASE WHO RW BS DEPTH OFFSET [DEV]
user() {
	snvme bench "${7:-/dev/$disk}" --rw="$3" --bs="$4" --iodepth="$5" --offset="$6" --size=$size \
		--runtime="$seconds" -o json >/tmp/snvme.out 2>/tmp/snvme.err ||
		{ cat /tmp/snvme.err /tmp/snvme.out; exit 1; }
	figures "$1" "$2" "$(snvme_figures /tmp/snvme.out "$(direction "$3")")"
}

# Data first: what one path writes, the other reads.
load_vssd && make_ssd vssd size=1G || exit 1
load_snvme || exit 1
declare -A disks=([qemu]=$(disk_of test) [vssd]=$disk)
pci=$(cat "/sys/class/nvme/$(ctrl_of test)/address")
for disk in "${disks[@]}"; do
	snvme bench "/dev/$disk" --rw=write --bs=128k --iodepth=8 --size=512m --verify=lba >/tmp/out 2>&1 &&
		snvme verify "/dev/$disk" --size=64m >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }
done
echo "# filled and verified through both paths"
rmmod snvme

# turn SSD: each case once.
turn() {
	ssd=$1
	disk=${disks[$ssd]}
	while read -r rw bs depth; do
		case="$rw-$bs-qd$depth"
		[[ $ssd:$case =~ $only ]] || continue
		echo "# turn $turn of $turns: $ssd, $case"
		stock "$case" stock "$rw" "$bs" "$depth" 0
		load_snvme || exit 1
		hog_start "/dev/$disk" idle 60 || exit 1
		stock "$case" stock+idle "$rw" "$bs" "$depth" 0
		stock "$case" stock+idle "$rw" "$bs" "$depth" 0
		kill "$hog"
		hog_end
		rmmod snvme || exit 1
		# Before and after: whatever drifts, drifts over both.
		stock "$case" stock "$rw" "$bs" "$depth" 0
		load_snvme || exit 1
		user "$case" user "$rw" "$bs" "$depth" 0
		stock "$case" stock+user "$rw" "$bs" "$depth" 256m &
		user "$case" user+stock "$rw" "$bs" "$depth" 0 >/tmp/user.rows
		wait $! || exit 1
		cat /tmp/user.rows
		rmmod snvme || exit 1
		[ "$ssd" = qemu ] && [ -e /sys/bus/pci/drivers/vfio-pci ] || continue
		snvme bind "$pci" >/dev/null || exit 1
		user "$case" vfio "$rw" "$bs" "$depth" 0 "vfio:$pci"
		snvme unbind "$pci" >/dev/null && name=$(ctrl_of test) && wait_live "$name" && disk=$(disk_of test) || exit 1
		disks[qemu]=$disk
	done <<-'END'
		randread 4k 1
		randread 4k 32
		randwrite 4k 1
		randwrite 4k 32
		read 128k 4
		write 128k 4
	END
}

for ((turn = 1; turn <= turns; turn++)); do
	turn qemu
	turn vssd
done
exit 0
