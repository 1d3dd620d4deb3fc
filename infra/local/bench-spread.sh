#!/usr/bin/env bash
# How much faster several workers factor one hard number than one does; see tests/benches/spread.rs. Some 20 minutes.
# Variables: BITS (224,256) for each WORKERS (1,2), SHARED_BITS (224) for each SHARED_WORKERS (1,8) with SHARE (0.2) of a core, ROUNDS (3).
# Root, for the shares and for a network of its own, whose traffic is nobody else's; without, leave SHARED_BITS empty.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

if [[ ${1-} == --measure ]]; then
	[[ $2 == shared ]] || ip link set lo up
	cd "$PRIMEPOOL_ROOT"
	exec cargo bench --offline --workspace --bench spread
fi

cd "$PRIMEPOOL_ROOT"
infra/local/setup.sh
ensure_cargo_on_path
cargo build --release --workspace --bins
cargo bench --workspace --bench spread --no-run
if command -v ip >/dev/null && unshare --net true 2>/dev/null; then
	exec unshare --net -- "$PRIMEPOOL_ROOT/infra/local/bench-spread.sh" --measure own
fi
say "other traffic over the loopback device is counted too: a network apart needs root and iproute2"
exec "$PRIMEPOOL_ROOT/infra/local/bench-spread.sh" --measure shared
