#!/usr/bin/env bash
# One run on this machine, from nothing to results: installs packages, builds the programs, and
# calls `sandbox run` (infra/sandbox/src/run.rs), which starts a private broker, a private InfluxDB,
# consumers and the producer, and cleans up.
#   run.sh [PRODUCER ARGUMENT…]       default: --count 100 --bits 1024
# Variables: CONSUMERS, CONCURRENCY, RESUME, METRICS, DASHBOARD (docs/OPERATIONS.md). PRIMEPOOL_BIN names a
# folder of programs to use; without it the programs are built. The exit status is the producer's.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# Under make, the run ends when make ends, for whatever reason.
owner=()
[[ ! ${MAKELEVEL-} ]] || owner=(--owner "$PPID")
cd "$PRIMEPOOL_ROOT"
metrics=(--metrics)
[[ ${METRICS:-on} == on && ! ${INFLUX_HOST-} ]] || metrics=()
infra/local/setup.sh "${metrics[@]}"
if [[ ! ${PRIMEPOOL_BIN-} ]]; then
	[[ -x $PRIMEPOOL_RELEASE/sandbox ]] || say "building; the first time it takes some minutes"
	dashboard=()
	[[ ${DASHBOARD-} != on ]] || dashboard=(--package primepool-monitor)
	build --package primepool-producer --package primepool-consumer --package primepool-sandbox "${dashboard[@]}"
fi
unset ARGS MAKEFLAGS
exec "${PRIMEPOOL_BIN:-$PRIMEPOOL_RELEASE}/sandbox" run "${owner[@]}" -- "$@"
