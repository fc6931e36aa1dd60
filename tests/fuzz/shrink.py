#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Keep the few inputs of a fuzzer's corpus that reach most: shrink.py TARGET CORPUS OUT [N]

TARGET is a libFuzzer program, CORPUS what it has gathered, OUT the folder in the tree. The one
that adds most comes first, up to N (12); libFuzzer's own merge says what each reaches.
"""
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile


def reached(target, path):
    """What an input covers: a merge of it alone, whose control file says so."""
    with tempfile.TemporaryDirectory() as scratch:
        control, out, one = (os.path.join(scratch, name) for name in ("control", "out", "one"))
        os.mkdir(out)
        os.mkdir(one)
        shutil.copy(path, one)
        subprocess.run([target, "-merge=1", "-merge_control_file=" + control, out, one],
                       check=True, stderr=subprocess.DEVNULL)
        with open(control, encoding="utf-8") as f:
            return {feature for line in f if line.startswith("FT ") for feature in line.split()[2:]}


def main():
    target, corpus, out = sys.argv[1:4]
    most = int(sys.argv[4]) if len(sys.argv) > 4 else 12
    paths = sorted(entry.path for entry in os.scandir(corpus) if entry.stat().st_size < 1024)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        cover = dict(zip(paths, pool.map(lambda path: reached(target, path), paths)))
    seen = set()
    os.makedirs(out, exist_ok=True)
    for i in range(min(most, len(cover))):
        best = max(sorted(cover), key=lambda path: len(cover[path] - seen))
        seen |= cover.pop(best)
        shutil.copyfile(best, os.path.join(out, f"seed-{i:02}"))


if __name__ == "__main__":
    main()
