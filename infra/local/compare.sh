#!/usr/bin/env bash
# Primepool, Ray, Celery and Dask side by side, on a private broker: compare.sh [ARGUMENTS OF experiment compare…]
# About six minutes. Leaves figures, table, picture and page in runs/compare-<time>/.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$PRIMEPOOL_ROOT"
infra/local/setup.sh --peers
build --workspace --bins
peers_python
export PRIMEPOOL_PEERS_PYTHON=$REPLY
# The others send metrics nowhere.
forget INFLUX_
exec "$PRIMEPOOL_RELEASE/sandbox" with "$PRIMEPOOL_RELEASE/experiment" compare "$@"
