#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The main job, in a guest: see tests/guest/demo.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "Booting Debian's own kernel in an emulated machine with an emulated NVMe SSD ..."
if scripts/guest.sh --kernel "${KERNEL:-6.1}" --stream -- demo.sh | grep --line-buffered -v '^guest: exit'; then
	exit 0
fi
echo "demo: failed; the logs are in build/guest-run" >&2
exit 1
