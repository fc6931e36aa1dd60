#!/bin/sh
# SPDX-License-Identifier: MIT
# Every test that doc/reliability.md cites is there, by the words that it prints.

N=0
FAILED=0
while IFS='|' read -r _ defect file test _; do
	file=$(echo "$file" | tr -d ' `')
	test=$(echo "$test" | sed 's/^ *"//; s/" *$//')
	N=$((N + 1))
	if grep -qF -e "$test" "$file"; then
		echo "ok $N -$defect: $file"
	else
		FAILED=1
		echo "not ok $N -$defect: $file has no '$test'"
	fi
done <<END
$(grep '^|.*| `tests/.*` | "' doc/reliability.md)
END
[ "$N" -gt 20 ] || FAILED=1
echo "1..$N"
exit $FAILED
