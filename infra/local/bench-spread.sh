#!/usr/bin/env bash
# How much faster several workers factor one hard number than one does; see tests/benches/spread.rs. Some 20 minutes.
# Variables: BITS (224,256) for each WORKERS (1,2), SHARED_BITS (224) for each SHARED_WORKERS (1,8) with SHARE (0.2) of a core, ROUNDS (3).
# Root, for the shares and for a network of its own, whose traffic is nobody else's; without, leave SHARED_BITS empty.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

bench_on_loopback spread
