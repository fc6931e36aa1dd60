# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For the demo and the benchmark: the same figures out of what fio and `snvme bench` print.

# fio_figures FILE read|write: "IOPS MB/s P50 P99", latencies in microseconds, from terse version 3.
fio_figures() {
	grep '^3;' "$1" | tail -n 1 | tr ';' '\n' | awk -v from="$([ "$2" = read ] && echo 6 || echo 47)" '
		NR == from + 1 { bw = $0 * 1024 / 1e6 }
		NR == from + 2 { iops = $0 }
		NR > from && NR < from + 41 && /^50\.0+%=/ { sub(".*=", ""); p50 = $0 }
		NR > from && NR < from + 41 && /^99\.0+%=/ { sub(".*=", ""); p99 = $0 }
		END { printf "%d %.1f %.0f %.0f\n", iops, bw, p50, p99 }'
}

# snvme_figures FILE read|write: the same from `snvme bench -o json`, whose latencies are in ns.
snvme_figures() {
	tr -d ' \n' <"$1" | grep -o "\"$2\":{.*" | awk '
		function number(key,  s) {
			if (!match($0, "\"" key "\":[0-9.e+]*")) return 0
			s = substr($0, RSTART, RLENGTH); sub(".*:", "", s); return s + 0
		}
		{ printf "%d %.1f %.1f %.1f\n", number("iops"), number("bw_bytes") / 1e6,
			number("p50") / 1000, number("p99") / 1000 }'
}

# json_number FILE KEY: the first number of that name.
json_number() {
	grep -o "\"$2\": *[0-9.e+]*" "$1" | head -n 1 | sed 's/.*: *//'
}
