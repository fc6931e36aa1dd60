#!/bin/sh
# SPDX-License-Identifier: MIT
# The sentences and exit codes of snvme(1) for misuse that needs neither a device nor the module.

SNVME=${SNVME:-build/snvme}
DIR=$(mktemp -d) || exit 1
SHM=$(mktemp /dev/shm/snvme-cli-XXXXXX) || exit 1	# tmpfs: certainly not on an NVMe namespace
trap 'rm -rf "$DIR" "$SHM"' EXIT
N=0
FAILED=0

ok()
{
	N=$((N + 1))
	if [ "$1" = 0 ]; then
		echo "ok $N - $2"
	else
		FAILED=1
		echo "not ok $N - $2"
		sed 's/^/# stderr: /' "$DIR/err"
		sed 's/^/# stdout: /' "$DIR/out" | head -5
	fi
}

# misuse CODE PATTERN ARG...: exits with CODE and one line, "snvme: " and PATTERN, on stderr only
misuse()
{
	code=$1 pattern=$2
	shift 2
	"$SNVME" "$@" < /dev/null > "$DIR/out" 2> "$DIR/err"
	got=$?
	[ $got = "$code" ] && [ "$(wc -l < "$DIR/err")" = 1 ] && [ ! -s "$DIR/out" ] &&
		grep -q "^snvme: .*$pattern" "$DIR/err"
	ok $? "snvme $* (exit $got, wanted $code)"
}

prints()
{
	pattern=$1
	shift
	"$SNVME" "$@" > "$DIR/out" 2> "$DIR/err" && [ ! -s "$DIR/err" ] &&
		grep -q "$pattern" "$DIR/out"
	ok $? "snvme $* prints $pattern"
}

prints '^usage: snvme' --help
prints '^usage: snvme' -h
prints '^snvme [0-9]' --version
for c in list info read write verify bench files vssd bind unbind; do
	prints "^usage: snvme $c" $c --help
	misuse 2 "unrecognized option '--nonsense'" $c --nonsense
	misuse 2 'xml is not an output format' $c -o xml
	misuse 2 "requires an argument" $c -o
done
misuse 2 'no command'
misuse 2 'lisst is not a command' lisst

"$SNVME" list -o json > "$DIR/out" 2> "$DIR/err" &&
	perl -MJSON::PP -0777 -ne 'exit ref decode_json($_)->{controllers} ne "ARRAY"' "$DIR/out"
ok $? "snvme list -o json is JSON with controllers"
"$SNVME" list > "$DIR/out" 2> "$DIR/err"
ok $? "snvme list succeeds where there are none"
misuse 2 'takes no device' list nvme0

misuse 2 'takes one device' info
misuse 2 'takes one device' info nvme0 nvme1
misuse 1 'no such device' info /dev/nvme4242
misuse 1 'no such device' info nvme4242
misuse 1 'no such device' info 4242:00:00.0
misuse 1 'no such device' read /dev/nvme4242n1
misuse 1 'no such device' write /dev/nvme4242n1 --offset=0 --size=4k
misuse 1 'no such device' verify /dev/nvme4242n1
misuse 1 'no such device' bench /dev/nvme4242n1

misuse 2 'either a device or --file' read
misuse 2 'either a device or --file' read nvme0 --file="$SHM"
misuse 2 'takes one device' read nvme0 nvme1
misuse 2 '--size=4x is not a size' read nvme0 --size=4x
misuse 2 '--offset=-1 is not a size' read nvme0 --offset=-1
misuse 2 '-o json needs --output' read nvme0 -o json
misuse 1 'No such file' read --file="$DIR/none"
misuse 1 'not on a file system that' read --file="$SHM"
misuse 1 'not a regular file' read --file="$DIR"
misuse 2 'needs --offset and --size' write nvme0
misuse 2 'needs --offset and --size' write nvme0 --size=4k --force
misuse 1 'not on a file system that' write --file="$SHM" --offset=0 --size=4k --force

misuse 2 'takes a device, files' verify
misuse 1 'No such file' verify "$DIR/none"
misuse 1 'No such file' verify --sums="$DIR/none"
echo 'not a sum' > "$DIR/sums"
misuse 1 'line 1 is not one of sha256sum' verify --sums="$DIR/sums"
misuse 2 'are for files' verify nvme0 --strict
misuse 2 'are for a device' verify "$SHM" --size=4k
"$SNVME" verify "$SHM" > "$DIR/out" 2> "$DIR/err"
[ $? = 1 ] && grep -q "skipped: not on a file system" "$DIR/err" &&
	grep -q 'no file was verified' "$DIR/err" && grep -q '1 skipped' "$DIR/out"
ok $? "snvme verify of a file that cannot be is not a success"

misuse 2 'either a device or --file' bench
misuse 2 '--rw=trim is none of' bench nvme0 --rw=trim
misuse 2 '--iodepth=0 is not a number between' bench nvme0 --iodepth=0
misuse 2 '--numjobs=many is not a number' bench nvme0 --numjobs=many
misuse 2 '--runtime=0 is not a number' bench nvme0 --runtime=0
misuse 2 '--rwmixread=101 is not a number between 0 and 100' bench nvme0 --rwmixread=101
misuse 2 '--verify=crc is neither' bench nvme0 --verify=crc
misuse 2 '--bs=4kb is not a size' bench nvme0 --bs=4kb
misuse 1 'no memory of its own for rings' bench vssd:ram,size=4M --cmb
misuse 1 'no room for another ring in the 8192 bytes' bench vssd:ram,size=4M,cmb=8k --cmb --numjobs=3
prints '^  write .* [0-9]* commands' bench vssd:ram,size=4M,cmb=8k --cmb --numjobs=2 --rw=randwrite --verify=lba

misuse 2 'takes one path or more' files
misuse 1 'No such file' files "$DIR/none"
misuse 1 'not a regular file' files "$DIR"
misuse 1 'not on a file system that' files "$SHM"

echo "1..$N"
exit $FAILED
