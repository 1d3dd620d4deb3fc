#!/usr/bin/env bash
# What the pool costs beside a bare loop of the engine and beside lapin alone; see tests/benches/pool.rs.
# Variables: ROUNDS (7), how often each pair is measured; BITS (1024 or 256), to measure the overhead of that size alone;
# ONLY_METRICS (any value), to measure what metrics cost alone; PRIMEPOOL_KERNEL (gmp or ifma), to force a kernel of the engine.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$PRIMEPOOL_ROOT"
infra/local/setup.sh --metrics
ensure_cargo_on_path
# In one go: the same features for both, and dependencies are compiled once.
cargo build --release --workspace --bins --bench pool
cargo bench --workspace --bench pool
