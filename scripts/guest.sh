#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Boots one of Debian's kernels in QEMU (TCG) and runs a test in it. See usage() below.
#
# The guest's root is an ext4 file system on an NVMe controller of its own under the stock driver,
# so that tests can attach to the disk that the root lies on, unless a test takes that driver away. It holds
# what root_files() names, is made again when one of those files changes, and no guest can change it.
set -euo pipefail

usage() {
	cat <<-'END'
	usage: scripts/guest.sh [options] -- TEST [ARG...]

	TEST is a file of tests/guest/ (given with or without its folder), a program of build/guest/,
	or any command that the guest has.

	  --kernel SERIES   6.1 (the default), 6.12, or debug: what debug-kernel.sh has built, which
	                    gets four times the time
	  --iommu           an emulated IOMMU, translating strictly, with vfio-pci and loop
	  --smp N           CPUs (2)
	  --mem SIZE        memory (2G)
	  --disk PROPS      one more NVMe controller with an empty disk: serial=NAME and, if wanted,
	                    size=SIZE (1G) and any property of QEMU's nvme device, by commas;
	                    max_ioqpairs is 64 unless given. With port=NAME it sits in a PCIe slot
	                    of its own, and can be pulled out of it; with complex=BUS that is
	                    below another root complex, of that bus number; with second=SIZE it has a
	                    second namespace, and both can be attached and detached; with bad=SECTOR
	                    that one cannot be read. A disk with serial=test replaces the default one
	  --bar SIZE        a PCI device (ivshmem) with a BAR of memory
	  --module NAME     one more module of its kernel's, with what it needs, loaded at boot
	  --append WORD     one more word for the kernel's command line
	  --no-nvme-root    the root disk is a virtio device, and the guest has the stock driver's
	                    modules, in order, in /stock
	  --timeout S       give up after so many seconds (1800): far more than a test takes, which says
	                    nothing on a machine that is busy; four times that with the debug kernel
	  --allow REGEX     lines of the kernel's log that this test is meant to cause
	  --allow-report REGEX  whole reports, with a backtrace, that have such a line and none of our modules':
	                    what a kernel says of its own
	  --out DIR         where the logs go (build/guest-run/KERNEL[-iommu]-TEST)
	  --stream          the test's output on our standard output (also with V=1)

	A test can ask for any of these itself, one a line: "# guest: --disk serial=few,max_ioqpairs=2".

	DIR gets kernel.log, test.log, qemu.log, and failed, which says why, if the test has; DIR/qmp is
	QEMU's monitor while the guest runs. The guest has a monitor of its own at its third serial port.
	Exit status: 0 if the test ended with 0 and the kernel logged no splat; else 1.
	END
}

die() {
	echo "guest.sh: $*" >&2
	exit 1
}

top=$(cd "$(dirname "$0")/.." && pwd)
runs=$top/build/guest-run
splats='\bBUG:|\bWARNING:|Oops|KASAN: |UBSAN: |possible (circular|recursive)|unreferenced object'
splats+='|lockdep is turned off|blocked for more than|Call Trace|Kernel panic|general protection|DMAR:.*fault'
# And what our own module says that no test means to cause.
splats+='|snvme: (deleting [CS]Q|controller refuses)'

# --- the command line ---

kernel=6.1 iommu='' smp=2 mem=2G bar='' append='' timeout=1800 patience=300 out='' stream='' root=nvme
[ "${V:-0}" = 0 ] || stream=1
disks=() allowed=() reports=() extra=()

options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--iommu) iommu=1 ;;
		--stream) stream=1 ;;
		--no-nvme-root) root=virtio ;;
		--help) usage; exit ;;
		--kernel | --smp | --mem | --bar | --append | --disk | --module | --timeout | --allow | --allow-report | --out)
			[ $# -ge 2 ] || die "$1 needs a value"
			case $1 in
			--disk) disks+=("$2") ;;
			--module) extra+=("$2") ;;
			--allow) allowed+=("$2") ;;
			--allow-report) reports+=("$2") ;;
			*) printf -v "${1#--}" %s "$2" ;;
			esac
			shift ;;
		*) die "no such option: $1 (--help tells)" ;;
		esac
		shift
	done
}

# The options that a test asks for: a flag, and the rest of the line is its value.
test_options() {
	local flag value

	while read -r _ _ flag value; do
		options "$flag" ${value:+"$value"}
	done < <(grep -a '^# guest: --' "$1")
}

# --- the root disk ---

programs=(
	bash blkdiscard blkid blockdev busybox cat chmod chrt cmp cp cut date dd df du e2fsck env fallocate
	filefrag findmnt fio flock fstrim head id ln losetup ls lsblk mkdir mkfs.ext4 mkfs.xfs mktemp mount mv nproc
	nvme od prlimit readlink rm seq setpriv sfdisk sha256sum shuf sleep sort split stat stdbuf stty sync
	tail taskset tee timeout touch tr trace-cmd truncate umount uniq unshare wc xfs_repair
)

# Every file of the root disk as "SOURCE TARGET"; the libraries follow from them.
root_files() {
	local program path name

	for program in "${programs[@]}"; do
		path=$(PATH=$PATH:/usr/sbin:/sbin type -P "$program") ||
			die "$program is not installed: run scripts/install-deps.sh"
		echo "$path usr/bin/$program"
	done
	for path in "$top"/build/snvme "$top"/build/guest/*; do
		[ ! -f "$path" ] || [ ! -x "$path" ] || echo "$path usr/local/bin/${path##*/}"
	done
	for path in "$top"/tests/guest/*; do
		[ ! -f "$path" ] || echo "$path tests/${path##*/}"
	done
	for path in "$top"/build/kernel-*/{,nvidia/}*.ko; do
		name=${path##*/}
		[[ $path != */nvidia/* ]] || name=${name%.ko}-nvidia.ko
		[ ! -f "$path" ] || echo "$path" \
			"usr/lib/modules/$(modinfo -F vermagic "$path" | cut -d ' ' -f 1)/$name"
	done
}

# The libraries that programs need, in the places of a merged /usr.
libraries() {
	ldd "$@" 2>/dev/null |
		awk '$2 == "=>" && $3 ~ "^/" { print $3 } $1 ~ "^/.*/ld-" { print $1 }' |
		sed 's,^/lib,/usr/lib,; s,^/,,' | sort -u
}

make_root() (
	local files=$1 image=$2 tmp root source target sources=()

	tmp=$(mktemp -d "$runs/root.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	root=$tmp/root
	mkdir -p "$root"/{dev,etc,mnt,proc,root,run,sys,tests,tmp,usr/{bin,lib,lib64}}
	chmod 755 "$root"
	ln -s usr/bin "$root/bin"
	ln -s usr/bin "$root/sbin"
	ln -s usr/lib "$root/lib"
	ln -s usr/lib64 "$root/lib64"
	ln -s bin "$root/usr/sbin"
	ln -s /proc/self/mounts "$root/etc/mtab"
	echo root:x:0:0:root:/root:/bin/bash >"$root/etc/passwd"
	echo root:x:0: >"$root/etc/group"
	busybox --install -s "$root/usr/bin"
	while read -r source target; do
		mkdir -p "$root/${target%/*}"
		cp --remove-destination "$source" "$root/$target"
		sources+=("$source")
	done <<<"$files"
	tar -C / -c -h -T <(libraries "${sources[@]}") | tar -C "$root" -x
	truncate -s "$(($(du -sm "$root" | cut -f 1) + 512))M" "$tmp/image"
	PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F -E lazy_itable_init=0,root_owner=0:0 \
		-d "$root" "$tmp/image"
	mv "$tmp/image" "$image"
)

# Makes $runs/root.img new if what goes into it has changed. A guest that runs keeps the old one.
update_root() (
	local files key

	files=$(root_files)
	key=$(cut -d ' ' -f 1 <<<"$files" | xargs stat -L -c '%n %s %y' -- "$top/scripts/guest.sh")
	exec 8>"$runs/.lock"
	flock 8
	if [ "$key" != "$(cat "$runs/root.key" 2>/dev/null)" ] || [ ! -e "$runs/root.img" ]; then
		rm -f "$runs/root.key"
		make_root "$files" "$runs/root.img"
		echo "$key" >"$runs/root.key"
	fi
)

# --- the initial RAM disk: finds the root disk by its serial number ---

# The IOMMU as machines have it, for every function there is or will be (INCLUDE_PCI_ALL): QEMU's table names those that
# it knows. Linux takes a later revision of a table from here. The unit is at 0xfed90000, the IOAPIC's
# requests come from ff:00.0, as there.
iommu_table() {
	local table byte sum=0

	table="44 4d 41 52 48 00 00 00 01 00 42 4f 43 48 53 20 42 58 50 43 20 20 20 20"
	table+=" 02 00 00 00 42 58 50 43 01 00 00 00 26 01 00 00 00 00 00 00 00 00 00 00"
	table+=" 00 00 18 00 01 00 00 00 00 00 d9 fe 00 00 00 00 03 08 00 00 00 ff 00 00"
	for byte in $table; do
		sum=$((sum + 0x$byte))
	done
	# The tenth byte makes the sum of all 0.
	printf -v byte %02x $((-sum & 255))
	printf '%b' "\\x$(sed "s/00/$byte/4; s/ /\\\\x/g" <<<"$table")"
}

make_initrd() (
	local kernel_root=$1 version=$2 initrd=$3 tmp module modules=(nvme ext4 xfs configfs)

	[ "$root" = nvme ] || modules+=(virtio_pci virtio_blk)
	[ -z "$iommu" ] || modules+=(vfio_iommu_type1 vfio_pci loop)
	modules+=("${extra[@]}")
	tmp=$(mktemp -d "$out/initrd.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	mkdir -p "$tmp"/{bin,dev,proc,sys,root,modules,kernel/firmware/acpi}
	[ -z "$iommu" ] || iommu_table >"$tmp/kernel/firmware/acpi/dmar.aml"
	cp "$(type -P busybox)" "$tmp/bin/busybox"
	: >"$tmp/modules/order"
	for module in "${modules[@]}"; do
		/sbin/modprobe -d "$kernel_root" -S "$version" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
		case $module in
		*.xz) xz -dc "$module" ;;
		*) cat "$module" ;;
		esac >"$tmp/modules/$(basename "$module" .xz)"
		basename "$module" .xz >>"$tmp/modules/order"
	done
	cat >"$tmp/init" <<-'END'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		mount -t devtmpfs dev /dev
		mount -t sysfs sys /sys
		while read -r module; do
			insmod "/modules/$module"
		done </modules/order
		tries=0
		while [ $((tries += 1)) -le 3000 ]; do
			for controller in /sys/class/nvme/nvme* /sys/block/vd*; do
				read -r serial <"$controller/serial"
				[ "$serial" = root ] || continue
				for disk in "$controller"/nvme*n* "$controller"; do
					mount -t ext4 "/dev/${disk##*/}" /root && break 3
				done
			done
			sleep 0.1
		done 2>/dev/null
		[ ! -e /sys/block/vda ] || cp -r /modules /root/stock
		umount /sys /dev
		exec switch_root /root /tests/init "$@"
	END
	chmod 755 "$tmp/init"
	(cd "$tmp" && find . | cpio -o -H newc --quiet) >"$initrd"
)

# --- the machine ---

# Makes the file behind a disk or namespace and prints QEMU's options for it, one a line: ID SIZE [BAD].
drive() {
	local file=$out/disk-$1.img
	local options="if=none,id=$1,format=raw,cache=unsafe,discard=unmap"

	rm -f "$file"
	truncate -s "$2" "$file"
	if [ -n "${3-}" ]; then
		options+=",file.driver=blkdebug,file.image.driver=file,file.image.filename=$file"
		options+=",file.inject-error.0.event=read_aio,file.inject-error.0.sector=$3"
	else
		options+=",file=$file,aio=threads"
	fi
	printf '%s\n' -drive "$options"
}

# Prints QEMU's options for a disk, one a line.
disk_options() {
	local word words serial='' size=1G props='' port='' complex='' second='' bad=''

	IFS=, read -ra words <<<"$1"
	for word in "${words[@]}"; do
		case $word in
		serial=*) serial=${word#*=} ;;
		size=*) size=${word#*=} ;;
		port=*) port=${word#*=} ;;
		complex=*) complex=${word#*=} port=${port:-slot$complex} ;;
		second=*) second=${word#*=} ;;
		bad=*) bad=${word#*=} ;;
		*) props+=,$word ;;
		esac
	done
	[[ $serial =~ ^[A-Za-z0-9_-]+$ ]] || die "--disk $1: needs serial=NAME"
	[[ $props == *,max_ioqpairs=* ]] || props+=,max_ioqpairs=64
	if [ -n "$port" ]; then
		props+=,bus=$port
		[ -z "$complex" ] ||
			printf '%s\n' -device "pxb-pcie,id=complex$complex,bus_nr=$complex,bus=pcie.0"
		# The id is the slot's number as well: one digit at its end.
		printf '%s\n' -device "pcie-root-port,id=$port,chassis=${port##*[!0-9]},slot=${port##*[!0-9]}${complex:+,bus=complex$complex}"
	fi
	if [ -z "$second" ]; then
		drive "$serial" "$size" "$bad"
		printf '%s\n' -device "nvme,drive=$serial,id=nvme-$serial,serial=$serial$props"
		return
	fi
	drive "$serial" "$size"
	drive "$serial-2" "$second"
	printf '%s\n' \
		-device "nvme-subsys,id=subsys-$serial" \
		-device "nvme,subsys=subsys-$serial,id=nvme-$serial,serial=$serial$props" \
		-device "nvme-ns,bus=nvme-$serial,drive=$serial,nsid=1" \
		-device "nvme-ns,bus=nvme-$serial,drive=$serial-2,nsid=2"
}

# The kernel hands what follows "--" to init as it is quoted here.
command_line() {
	local arg line

	line="console=ttyS0 loglevel=7 printk.devkmsg=on panic=-1 tsc=reliable"
	line+=" tsc_early_khz=$tsc_khz"
	# An emulated CPU may rest for long when the machine has other things to do.
	line+=" watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=300 sysctl.kernel.hung_task_timeout_secs=600"
	line+="${iommu:+ intel_iommu=on iommu.passthrough=0 iommu.strict=1}${append:+ $append} --"
	for arg; do
		[[ $arg != *[\"$'\n']* ]] || die "an argument cannot hold quotes or line ends: $arg"
		line+=" \"$arg\""
	done
	[ ${#line} -lt 2048 ] || die "the test's arguments are too long"
	echo "$line"
}

# shellcheck disable=SC2317 # the trap calls it
stop() {
	[ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true
	rm -rf "$out"/disk-*.img "$out"/initrd* "$out/qmp" "$out"/{port,monitor}.{in,out}
}

run() {
	local version=$1 kernel_root=$2 image line disk args props watch tail=

	image=$kernel_root/boot/vmlinux-$version
	[ -e "$image" ] || image=$kernel_root/boot/vmlinuz-$version
	make_initrd "$kernel_root" "$version" "$out/initrd"
	line=$(command_line "${@:3}")
	args=(-nodefaults -no-user-config -display none -no-reboot -machine q35
		-accel "tcg,thread=multi" -cpu max -smp "$smp" -m "$mem" ${iommu:+-device}
		${iommu:+"intel-iommu,intremap=on,caching-mode=on"}
		-kernel "$image" -initrd "$out/initrd" -append "$line"
		-serial file:kernel.log -serial file:test.log -qmp "unix:qmp,server=on,wait=off"
		# The guest's third serial port is a monitor's: two pipes, each the other's other end.
		-chardev pipe,id=port,path=port -serial chardev:port
		-chardev pipe,id=monitor,path=monitor -mon chardev=monitor,mode=readline
		-drive "file=$runs/root.img,if=none,id=root,format=raw,snapshot=on,aio=threads")
	case $root in
	nvme) args+=(-device "nvme,drive=root,id=nvme-root,serial=root,max_ioqpairs=64") ;;
	*) args+=(-device "virtio-blk-pci,drive=root,serial=root") ;;
	esac
	[ -z "$bar" ] || args+=(-object "memory-backend-ram,id=bar,share=on,size=$bar"
		-device "ivshmem-plain,memdev=bar")
	for props in "${disks[@]}"; do
		disk=$(disk_options "$props")
		mapfile -t -O ${#args[@]} args <<<"$disk"
	done

	rm -f "$out"/{port,monitor}.{in,out}
	mkfifo "$out/port.in" "$out/port.out"
	ln -s port.out "$out/monitor.in"
	ln -s port.in "$out/monitor.out"
	: >"$out/test.log"
	: >"$out/kernel.log"
	# In its own folder, because the path of a socket may not be long.
	(cd "$out" && exec timeout -k 5 "$timeout" qemu-system-x86_64 "${args[@]}") \
		>"$out/qemu.log" 2>&1 </dev/null 9>&- &
	qemu=$!
	watch_boot 9>&- &
	watch=$!
	if [ -n "$stream" ]; then
		tail -n +1 -f -s 0.1 --pid=$qemu "$out/test.log" 9>&- &
		tail=$!
	fi
	wait "$qemu" && status=0 || status=$?
	qemu=
	[ -z "$tail" ] || wait "$tail"
	wait "$watch"
}

user_space='Run /init as init process'

# Ends a guest that has not come to user space after $patience s.
watch_boot() {
	grep -a -q "$user_space" < <(timeout "$patience" tail -n +1 -f -s 0.5 --pid=$qemu "$out/kernel.log") ||
		kill "$qemu" 2>/dev/null || true
}

booted() {
	grep -a -q "$user_space" "$out/kernel.log"
}

# The log without the reports, from a splat to the end of its backtrace, that match $1 and do not name our modules.
without_reports() {
	# awk has no \b.
	awk -v splats="${splats//\\b/}" -v own="$1" '
		!report && $0 ~ splats { report = 1; kept = ""; known = 0; ours = 0 }
		!report { print; next }
		{ kept = kept $0 "\n" }
		$0 ~ own { known = 1 }
		/\[(snvme|vssd)\]/ && !/^Modules/ { ours = 1 }
		/<\/TASK>/ { if (!known || ours) printf "%s", kept; report = 0 }
		END { if (report) printf "%s", kept }'
}

# Prints each reason why this run has failed.
verdict() {
	local code log

	code=$(tail -n 1 "$out/test.log" | grep -a -o 'guest: exit [0-9]*$' | cut -d ' ' -f 3) || true
	if ! booted; then
		echo "no user space; QEMU ended with $status: $(tail -n 3 "$out/qemu.log")"
	elif [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
		echo "no end after $timeout s"
	elif [ "$status" -ne 0 ]; then
		echo "QEMU ended with $status: $(tail -n 3 "$out/qemu.log")"
	elif [ -z "$code" ]; then
		echo "the guest went down before the test had ended"
	elif [ "$code" -ne 0 ]; then
		echo "the test ended with $code"
	fi
	# Neither the command line nor the names of tests are the kernel's own words.
	log=$(grep -a -v -e 'ommand line: ' -e '^\[[ 0-9.]*] test: ' "$out/kernel.log") || true
	for code in "${reports[@]}"; do
		log=$(without_reports "$code" <<<"$log")
	done
	for code in "${allowed[@]}"; do
		log=$(grep -E -v -e "$code" <<<"$log") || true
	done
	grep -E -m 5 -e "$splats" <<<"$log" | sed 's/^/the kernel says: /' || true
}

# --- one run ---

words=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	words+=("$1")
	shift
done
[ $# -eq 0 ] || shift
if [ $# -gt 0 ]; then
	test=${1##*/}
	if [ -f "$top/tests/guest/$test" ]; then
		test_options "$top/tests/guest/$test"
	else
		test=$1
	fi
fi
options "${words[@]}"
[ $# -gt 0 ] || die "no test given (--help tells)"
shift
[[ " ${disks[*]}" == *[\ ,]serial=test* ]] || disks=(serial=test "${disks[@]}")

tsc_khz=$("$top/build/tsc_khz") || die "make build/tsc_khz first"
version=$("$top/scripts/kernels.sh" version "$kernel")
kernel_root=$("$top/scripts/kernels.sh" root "$kernel")
[ "$kernel" != debug ] || timeout=$((4 * timeout)) patience=$((4 * patience))
name=$kernel${iommu:+-iommu}-${test//[^A-Za-z0-9._-]/_}
out=${out:-$runs/$name}
mkdir -p "$runs" "$out"
out=$(cd "$out" && pwd)
exec 9>"$out/.lock"
flock -n 9 || die "another guest runs in $out"
update_root

qemu=
trap stop EXIT
trap 'exit 130' INT TERM
rm -f "$out/failed"
# Nothing that is tested happens before user space, and TCG does not always bring a kernel there. With several CPUs
# it loses a breakpoint by which the kernel patches its own code, or keeps it: the kernel dies of it, or meets it
# for ever. On a busy machine the kernel may find no timer.
for boot in 1 2 3; do
	run "$version" "$kernel_root" "$test" "$@"
	! booted || break
	echo "$name: no user space (boot $boot), the last of the kernel: $(tail -n 1 "$out/kernel.log")" >&2
	rm -f "$out/qmp"
done
why=$(verdict)
if [ -z "$why" ]; then
	[ -n "$stream" ] || echo "$name: ok ($SECONDS s)"
	exit 0
fi
{
	[ -n "$stream" ] || tail -n 20 "$out/test.log"
	echo "$name: ${why//$'\n'/$'\n'"$name: "}"
	echo "$name: failed; the logs are in $out"
} | tee "$out/failed" >&2
exit 1
