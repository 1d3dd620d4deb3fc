#!/usr/bin/env bash
# Factoring on one core beside PARI's gp; see engine/benches/factor.rs. A table on standard output, in some five minutes.
# Variables: BITS ("128 160 192 224").
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

read -ra bits <<<"${BITS:-128 160 192 224}"
cd "$PRIMEPOOL_ROOT"
infra/local/setup.sh --factor
ensure_cargo_on_path
cargo bench --workspace --bench factor -- "${bits[@]}"
