#!/usr/bin/env bash
# Experiments on a private broker, and their reports:
#   experiment.sh run [ARGUMENT…]       a sweep on this machine; without arguments a small one of
#                                       five minutes, with nodes of a quarter core each
#   experiment.sh compare [ARGUMENT…]   the pool beside Ray, Celery and Dask, six minutes; table,
#                                       pictures and page in runs/compare-<time>/
#   experiment.sh report ARGUMENT…      make the report of an experiment again, from its folder, or
#                                       from InfluxDB by its name (NAME --influx)
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$PRIMEPOOL_ROOT"
python_of experiment/report
report=("$REPLY" -B "$PRIMEPOOL_ROOT/experiment/report")

measure() { # ARGUMENT… → folder and status; exits if nothing was measured
	local log
	log=$(mktemp)
	"$PRIMEPOOL_RELEASE/sandbox" with "$PRIMEPOOL_RELEASE/experiment" "$@" | tee "$log" || status=$?
	folder=$(sed -n 's/^measured: //p' "$log")
	rm -f -- "$log"
	[[ $folder ]] || exit "$status"
}

status=0
case ${1-} in
report)
	infra/local/setup.sh --report
	exec "${report[@]}" experiment "${@:2}"
	;;
compare)
	infra/local/setup.sh --peers
	python_of experiment/peers
	export PRIMEPOOL_PEERS_PYTHON=$REPLY
	forget INFLUX_ # the other systems send no metrics
	build --workspace --bins
	measure "$@"
	"${report[@]}" comparison "$folder"
	;;
*)
	infra/local/setup.sh --report
	(($# > 1)) || set -- run --nodes 1,2,4,6 --workers 1 --repeat 3 --min-time 15s --cpus-per-node 0.25
	build --workspace --bins
	measure "$@"
	[[ $1 != run ]] || "${report[@]}" experiment "$folder"
	;;
esac
exit "$status"
