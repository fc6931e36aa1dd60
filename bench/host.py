# SPDX-License-Identifier: MIT
"""Reports the rows of bench/host.sh: medians and ratios, as a table and as JSON."""
import json
import os
import statistics
import sys

log, out = sys.argv[1:]
values = {}
units = {}
for line in open(log):
    _, case, who, metric, value, unit = line.split()
    values.setdefault((case, who, metric), []).append(float(value))
    units[metric] = unit

with open("/proc/cpuinfo") as f:
    cpu = next((l.split(":")[1].strip() for l in f if l.startswith("model name")), "unknown CPU")
rows = [{"case": c, "who": w, "metric": m, "value": statistics.median(v), "unit": units[m]}
        for (c, w, m), v in values.items()]
# Ratios of turns of the same moment, then their median: the machine's mood cancels out.
for case, who, base in (("randread-4k", "vssd-ram", "memcpy"),
                        ("two-processes-randread-4k", "vfio-user", "in-process"),
                        ("ways-randread-4k", "two-threads-one-queue", "one-thread"),
                        ("ways-randread-4k", "two-threads-two-queues", "one-thread"),
                        ("ways-randread-4k", "one-thread-four-queues", "one-thread"),
                        ("file-randread-4k-qd32", "vssd-file", "fio"),
                        ("file-randwrite-4k-qd32", "vssd-file", "fio")):
    pairs = zip(values[case, who, "iops"], values[case, base, "iops"])
    rows.append({"case": f"{case}: {who} / {base}", "who": who, "metric": "ratio",
                 "value": round(statistics.median(a / b for a, b in pairs), 3), "unit": "1"})
with open(out, "w") as f:
    json.dump({"machine": f"{os.cpu_count()} x {cpu}", "rows": rows}, f, indent=1)
    f.write("\n")
print(f"\n{os.cpu_count()} x {cpu}\n")
for row in rows:
    print(f"{row['case']:<45} {row['who']:<10} {row['metric']:<13} {row['value']:>12.{2 if row['metric'] == 'ratio' else 0}f}")
print(f"\nwritten to {out}")
