#!/usr/bin/env bash
# Runs under faults, each fault alone and then all together: chaos.sh [ARGUMENTS OF chaos…]
# Takes some ten minutes, with private brokers and databases. The fault "disk full" needs root.
# Leaves runs/chaos/ if a promise was broken.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$PRIMEPOOL_ROOT"
infra/local/setup.sh --test
build --workspace --bins
forget PRIMEPOOL_ 'PRIMEPOOL_@(STATE|TOOLS)'
forget INFLUX_
(($# == 0)) || exec "$PRIMEPOOL_RELEASE/chaos" "$@"
status=0
"$PRIMEPOOL_RELEASE/chaos" || status=$?
((status == 130 || status == 143)) || "$PRIMEPOOL_RELEASE/chaos" --together || status=$?
exit "$status"
