# SPDX-License-Identifier: MIT
"""Reports the rows of tests/guest/bench.sh: medians and ratios, as a table and as JSON."""
import json
import os
import statistics
import sys

kernel, log, out = sys.argv[1:]
values = {}
units = {}
for line in open(log, errors="replace"):
    word = line.split()
    if len(word) == 7 and word[0] == "row":
        ssd, case, who, metric, value, unit = word[1:]
        values.setdefault((f"{ssd} {case}", who, metric), []).append(float(value))
        units[metric] = unit
if not values:
    sys.exit("bench: no figures in " + log)
median = {key: statistics.median(v) for key, v in values.items()}
cases = list(dict.fromkeys(case for case, _, _ in median))
# The stock path is measured more than once in a turn, the user queue once.
turns = max(len(v) for (_, who, _), v in values.items() if who == "user")

with open("/proc/cpuinfo") as f:
    cpu = next((l.split(":")[1].strip() for l in f if l.startswith("model name")), "unknown CPU")
machine = (f"QEMU TCG guest, 2 virtual CPUs, Debian kernel {kernel}, on {os.cpu_count()} x {cpu}; "
           f"QEMU's NVMe model (qemu) and vssd.ko (vssd); median of {turns} turns")
rows = [{"case": c, "who": w, "metric": m, "value": v, "unit": units[m]}
        for (c, w, m), v in median.items()]

# What one turn saw of both, then the median of the turns: the machine's mood cancels out.
def ratio(case, who, base):
    def by_turn(who):
        v = values[case, who, "iops"]
        n = len(v) // turns
        return [statistics.mean(v[i * n:(i + 1) * n]) for i in range(turns)]
    return statistics.median(a / b for a, b in zip(by_turn(who), by_turn(base)))

ratios = [("stock+idle", "stock"), ("user", "stock"), ("stock+user", "stock"), ("user+stock", "user"),
          ("vfio", "user")]
# A disk goes to vfio-pci where an IOMMU is on, and not those of vssd.ko.
def taken(case):
    return [(who, base) for who, base in ratios if (case, who, "iops") in values]
for case in cases:
    for who, base in taken(case):
        rows.append({"case": f"{case}: {who} / {base}", "who": who, "metric": "ratio",
                     "value": round(ratio(case, who, base), 3), "unit": "1"})
with open(out, "w") as f:
    json.dump({"machine": machine, "rows": rows}, f, indent=1)
    f.write("\n")

print(f"\n{machine}\n")
print(f"{'case':<24} {'who':<12} {'IOPS':>9} {'MB/s':>9} {'p50 us':>9} {'p99 us':>9}")
for case in cases:
    for who in ["stock"] + [who for who, _ in taken(case)]:
        print(f"{case:<24} {who:<12} " + " ".join(
            f"{median[case, who, m]:>9.{d}f}" for m, d in
            (("iops", 0), ("bandwidth", 1), ("p50", 1), ("p99", 1))))
print(f"\n{'case':<24} " + " ".join(f"{a + ' / ' + b:>20}" for a, b in ratios))
for case in cases:
    print(f"{case:<24} " + " ".join(f"{ratio(case, a, b):>20.2f}" for a, b in taken(case)))
print(f"\nwritten to {out}")
