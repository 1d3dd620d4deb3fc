#!/usr/bin/env bash
# Runs during which everything goes wrong that may, each fault alone and then all together: chaos.sh [ARGUMENTS OF chaos…]
# Private brokers and databases, some ten minutes; root for the disk that is full. Leaves runs/chaos/ if a promise was broken.
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
