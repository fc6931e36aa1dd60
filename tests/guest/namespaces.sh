#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A namespace beside is detached, attached and formatted, while a file system and an owner of a queue use
# the first one, and another owner the one that goes.
#
# guest: --disk serial=test,second=256M
set -u
# shellcheck source-path=SCRIPTDIR
. "${0%/*}/lib.sh"
. "${0%/*}/load.sh"

region=$((16 << 20)) length=$((4 << 20))

# blocks NSID: its size in blocks, as the controller says, or nothing.
blocks() {
	nvme id-ns "/dev/$name" -n "$1" 2>/dev/null | awk '$1 == "nsze" { print $3 }'
}

prepare
fio_start /mnt 1
steady_start "/dev/$name" 100000 "$region" "$length" 1 1 || { not_ok "an owner"; done_testing; }
first=$steady first_out=$steady_out

steady_start "/dev/$name" 100000 0 "$length" 2 2 || { not_ok "an owner on the second"; done_testing; }
try "detach the second namespace" nvme detach-ns "/dev/$name" -n 2 -c 0
steady_wait
is "who used it gets a status ($steady_said)" "$?" 1
is "which is Invalid Namespace, or Invalid Field" "$(grep -Eo 'ended with 0x(b|2)$' <<<"$steady_said" | wc -l)" 1
for _ in 1 2 3 4 5; do
	try "attach" nvme attach-ns "/dev/$name" -n 2 -c 0
	try "detach" nvme detach-ns "/dev/$name" -n 2 -c 0
done
try "attach" nvme attach-ns "/dev/$name" -n 2 -c 0
steady_start "/dev/$name" 1 0 "$length" 3 2
steady_wait
is "it works as before ($steady_said)" "$?" 0

is "blocks of 512 bytes" "$(blocks 2)" "$(printf '%#x' $((256 << 11)))"
try "format it with blocks of 4 KiB" nvme format "/dev/$name" -n 2 -l 4 -f
is "blocks of 4 KiB" "$(blocks 2)" "$(printf '%#x' $((256 << 8)))"
steady_start "/dev/$name" 100000 0 "$length" 4 2
try "format it while an owner uses it" nvme format "/dev/$name" -n 2 -l 0 -f
steady_wait
is "who used it finds its data gone, or is refused" "$? $(grep -Ec 'holds 0,|ended with 0x84$' <<<"$steady_said")" "1 1"
echo "# $steady_said" | head -n 1

steady=$first steady_out=$first_out
steady_end
is "the owner on the first noticed nothing ($steady_said)" "$?" 0
fio_stop
given_back
intact
try "unload the module" rmmod snvme

try "load the module" load_snvme
steady_start "/dev/$name" 100000 "$region" "$length" 5 1 || not_ok "an owner"
echo "# the machine is rebooted with a queue at work"
touch /run/reboot
done_testing
