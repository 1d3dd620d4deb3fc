#!/usr/bin/env bash
# A sweep on this machine, on a private broker: experiment.sh [ARGUMENTS OF experiment run…]
# Without arguments a small one, of about five minutes: nodes of a quarter core each.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$PRIMEPOOL_ROOT"
infra/local/setup.sh
build --workspace --bins
(($#)) || set -- --nodes 1,2,4,6 --workers 1 --repeat 3 --min-time 15s --cpus-per-node 0.25
exec "$PRIMEPOOL_RELEASE/sandbox" with "$PRIMEPOOL_RELEASE/experiment" run "$@"
