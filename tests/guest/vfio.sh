#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A whole disk in user space: snvme bind gives it to vfio-pci, the library brings it up behind the IOMMU, and snvme unbind
# gives it back. Beside it the root disk stays with the kernel's driver, with user queues of its own.
#
# guest: --iommu
# guest: --disk serial=test,cmb_size_mb=1
# guest: --allow DMAR:.*fault
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

disk=$(disk_of test)
name=$(ctrl_of test)
pci=$(cat "/sys/class/nvme/$name/address")
root=$(cat "/sys/class/nvme/$(ctrl_of root)/address")
driver_of() {
	basename "$(readlink "/sys/bus/pci/devices/$1/driver")"
}
refuses_bind() {
	refuses "bind: $1" "$2" snvme bind "/dev/$name"
	is "it stays with the driver" "$(driver_of "$pci")" nvme
}

try "load the module" load_snvme || done_testing

# What is in use stays.
refuses "bind: the root disk" "snvme: .* is in use: .*mounted on /" snvme bind "$root"
refuses "bind: a namespace" "name its controller" snvme bind "/dev/$disk"
refuses "bind: no such device" "no such device" snvme bind nvme77
refuses "bind: not a disk" "not an NVMe controller" snvme bind 0000:00:00.0
refuses "bind: no address" "no such PCI device" snvme bind ../devices
refuses "bind: not root" "snvme: " setpriv --reuid 1000 --clear-groups snvme bind "$pci"
refuses "open before it is bound" "not with vfio-pci, but with nvme: snvme bind" snvme info "vfio:$pci"
refuses "unbind what is not bound" "not with vfio-pci, but with nvme" snvme unbind "$pci"
echo 'start=900MiB' | sfdisk -q "/dev/$disk"
mkfs.ext4 -q "/dev/${disk}p1"
mount "/dev/${disk}p1" /mnt
refuses_bind "mounted" "is in use: ${disk}p1 is mounted on /mnt"
umount /mnt
exec {held}<"/dev/${disk}p1"
refuses_bind "a partition that a process has open" "in use: vfio.sh \(process [0-9]*\) has it open"
exec {held}<&-
exec {held}<"/dev/$name"
refuses_bind "a controller that a process has open" "in use: vfio.sh \(process [0-9]*\) has it open"
exec {held}<&-
start vfio mapped "/dev/$disk"
refuses_bind "a disk that a process has mapped" "in use: vfio \(process $pid\) has it mapped"
kill "$pid"; wait "$pid"
losetup -o 1048576 --sizelimit 1048576 /dev/loop0 "/dev/$disk"
refuses_bind "behind a loop device" "in use: a loop device has /dev/$disk"
losetup -d /dev/loop0
hog_start "/dev/$name" rw 3600 $((16 << 20)) $((32 << 20))
refuses_bind "user queues" "in use: somebody has [0-9]* queues"
kill "$hog"; hog_end
head -c 8388608 /dev/urandom >/tmp/random
dd if=/tmp/random of="/dev/$disk" bs=1M seek=80 oflag=direct conv=notrunc status=none

# The other way, and all that user space does with it.
try "bind" snvme bind "/dev/$name" || done_testing
is "vfio-pci has it" "$(driver_of "$pci")" vfio-pci
try "bind again: nothing to do" snvme bind "$pci"
is "the kernel has no disk of it" "$(ls -d "/sys/block/$disk" 2>/dev/null)" ""
snvme list | explain
try "list says whose it is" sh -c "snvme list | grep -q '$pci .*driven by vfio-pci'"
refuses "not attached, though" "the kernel's nvme driver does not run it" snvme info "$pci"
refuses "not root" "snvme: " setpriv --reuid 1000 --clear-groups snvme info "vfio:$pci"
try "info" snvme info "vfio:$pci"
snvme info "vfio:$pci" | explain
try "what the kernel wrote" sh -c "snvme read vfio:$pci --offset=80m --size=8m | cmp - /tmp/random"
bench() {
	snvme bench "vfio:$pci" --bs=4k --iodepth=32 --numjobs=2 --offset=128m --size=64m --verify=lba "$@"
}
try "bench write with verification" bench --rw=write
try "bench randrw with verification" bench --rw=randrw --runtime=2
try "the rest, from a program" vfio "$pci"
try "a read to where nothing is mapped ended in the IOMMU" \
	sh -c "dmesg | grep -q 'DMAR:.*${pci#0000:}.*fault addr'"

# Somebody who ends by SIGKILL leaves a disk that comes up again, and nothing pinned.
pinned=$(pins)
for ((i = 0; i < 20; i++)); do
	hog_start "vfio:$pci" rw 3600 $((16 << 20)) $((32 << 20)) || break
	if [ "$i" -eq 0 ]; then
		refuses "unbind: open" "snvme: $pci is in use" snvme unbind "$pci"
		refuses "open twice" "another process has it" snvme info "vfio:$pci"
		try "the root disk beside it" snvme verify "/dev/$(disk_of root)" --size=4m
	fi
	kill -KILL "$hog"
	hog_end
	[ $? -eq 137 ] || break
done
is "processes killed with I/O in flight" "$i" 20
try "it comes up again" snvme info "vfio:$pci"
is "every pin is released" "$(pins)" "$pinned"

# Back, with what user space wrote, and forth again.
snvme write "vfio:$pci" --offset=96m --size=8m --input=/tmp/random
try "unbind" snvme unbind "$pci"
name=$(ctrl_of test) && wait_live "$name" && disk=$(disk_of test)
wait_until test -b "/dev/${disk}p1"
is "the driver has it" "$(driver_of "$pci")" nvme
is "no override is left" "$(cat "/sys/bus/pci/devices/$pci/driver_override")" "(null)"
try "the kernel reads what user space wrote" cmp <(dd if="/dev/$disk" bs=1M skip=96 count=8 iflag=direct status=none) \
	/tmp/random
intact_now() {
	e2fsck -fn "/dev/${disk}p1" && mount "/dev/${disk}p1" /mnt && umount /mnt
}
try "the file system is whole" intact_now
moved=0
while [ "$moved" -lt 20 ] && snvme bind "$pci" >/dev/null && snvme unbind "$pci" >/dev/null; do
	name=$(ctrl_of test) && wait_live "$name" && wait_until find_disk "$name" 1 >/dev/null || break
	moved=$((moved + 1))
done
is "moved there and back" "$moved" 20
try "user queues beside the driver again" snvme verify "/dev/$(disk_of test)" --size=4m
try "unload the module" rmmod snvme
done_testing
