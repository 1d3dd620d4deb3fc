#!/usr/bin/env bash
# What the program `experiment` does, on a private broker, some five minutes:
#   experiment.sh run [ARGUMENT…]       a sweep on this machine; without arguments a small one: nodes of a quarter core each
#   experiment.sh compare [ARGUMENT…]   beside Ray, Celery and Dask; figures, table, picture and page in runs/compare-<time>/
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$PRIMEPOOL_ROOT"
if [[ ${1-} == compare ]]; then
	infra/local/setup.sh --peers
	peers_python
	export PRIMEPOOL_PEERS_PYTHON=$REPLY
	forget INFLUX_ # the others send metrics nowhere
else
	infra/local/setup.sh
	(($# > 1)) || set -- run --nodes 1,2,4,6 --workers 1 --repeat 3 --min-time 15s --cpus-per-node 0.25
fi
build --workspace --bins
exec "$PRIMEPOOL_RELEASE/sandbox" with "$PRIMEPOOL_RELEASE/experiment" "$@"
