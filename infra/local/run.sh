#!/usr/bin/env bash
# One run on this machine, from nothing to results: packages, build, and what `sandbox run` does (infra/sandbox/src/run.rs): a private
# broker, a private InfluxDB, consumers, the producer, clean-up.
#   run.sh [PRODUCER ARGUMENT…]       default: --count 100 --bits 1024
# Variables: CONSUMERS, CONCURRENCY, RESUME, METRICS, DASHBOARD (README); PRIMEPOOL_BIN: folder of programs to use; without it they are built.
# The exit status is the producer's.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# Under make, the run ends with it, however that ends.
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
