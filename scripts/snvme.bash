# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of snvme(1) for bash: commands and options as the tool's own --help has them, devices as sysfs does.

_snvme()
{
	local cur prev words cword split word command='' device

	_init_completion -s || return
	for word in "${words[@]:1:cword-1}"; do
		[[ $word == -* ]] || { command=$word; break; }
	done
	if [ -z "$command" ]; then
		mapfile -t COMPREPLY < <(compgen -W "--help --version $(snvme --help 2>/dev/null |
			sed -n 's/^  \([a-z]*\) .*/\1/p')" -- "$cur")
		return
	fi
	case $prev in
	--rw) word='read write randread randwrite rw randrw' ;;
	--verify) word='none lba' ;;
	--class) word='urgent high medium low' ;;
	-o | --output-format) word='human json' ;;
	--file | --input | --sums | --output | -O | --socket) _filedir; return ;;
	*)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "--help --output-format $(snvme "$command" --help 2>/dev/null |
				grep -o -e '--[a-z-]*=\?')" -- "$cur")
			[[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
			return
		fi
		word=
		for device in /sys/class/nvme/nvme* /sys/class/nvme/nvme*/nvme*n* /sys/bus/pci/drivers/vfio-pci/*:*; do
			[ -e "$device" ] || continue
			device=${device##*/}
			case $command$device in
			unbind*:* | bind*:*) word+=" $device" ;;
			*:*) word+=" vfio:$device" ;;
			*) word+=" /dev/${device/c[0-9]n/n}" ;;
			esac
		done
		word+=" vssd:ram,size= vssd:file= vfio-user:"
		_filedir ;;
	esac
	mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$word" -- "$cur")
	__ltrim_colon_completions "$cur"
} && complete -F _snvme snvme
