#!/usr/bin/env bash
# What units and consumers cost the broker; see tests/benches/broker.rs.
# Variables: CONSUMERS (1,10,100,200,500,1000), how many there are in turn: each is a process of its own; empty: only the cost of a
# unit is measured; ROUNDS (3), how often that is.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# The network traffic is read off the loopback device. In a network of its own nobody else's is there; only root may make one.
if [[ ${1-} == --measure ]]; then
	[[ $2 == shared ]] || ip link set lo up
	# Two connections a consumer, and a file for each at the broker.
	ulimit -n "$(ulimit -Hn)"
	cd "$PRIMEPOOL_ROOT"
	exec cargo bench --offline --workspace --bench broker
fi

cd "$PRIMEPOOL_ROOT"
infra/local/setup.sh
ensure_cargo_on_path
cargo build --release --workspace --bins
cargo bench --workspace --bench broker --no-run
if command -v ip >/dev/null && unshare --net true 2>/dev/null; then
	exec unshare --net -- "$PRIMEPOOL_ROOT/infra/local/bench-broker.sh" --measure own
fi
say "other traffic over the loopback device is counted too: a network apart needs root and iproute2"
exec "$PRIMEPOOL_ROOT/infra/local/bench-broker.sh" --measure shared
