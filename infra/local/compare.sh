#!/usr/bin/env bash
# Primepool, Ray, Celery and Dask side by side, on a private broker: compare.sh [ARGUMENTS OF experiment compare…]
# About six minutes. Leaves figures, table, picture and page in runs/compare-<time>/.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
here=$PRIMEPOOL_ROOT/infra/local
work=$PRIMEPOOL_STATE/compare-$$

# shellcheck disable=SC2317 # called through attend_signals
clean_up() {
	end_process "$child_mark" 45
	"$here/broker.sh" stop "$work"
	rm -rf -- "$work"
}

cd "$PRIMEPOOL_ROOT"
attend_signals clean_up
attend TERM "$here/setup.sh" --peers || exit $?
ensure_cargo_on_path
attend TERM cargo build --release --bins || die 1 "the build failed: see above"
attend TERM "$here/broker.sh" start "$work" --watch-pid $$ --remove || exit $?
peers_python
PRIMEPOOL_PEERS_PYTHON=$REPLY
PRIMEPOOL_AMQP_URL=$(<"$work/amqp-url")
PRIMEPOOL_BROKER_PID=$(<"$work/pid")
export PRIMEPOOL_AMQP_URL PRIMEPOOL_BROKER_PID PRIMEPOOL_PEERS_PYTHON
# The others send metrics to nobody.
forget INFLUX_
status=0
attend INT "$PRIMEPOOL_RELEASE/experiment" compare "$@" || status=$?
[[ ! $signalled ]] || status=$signalled
exit "$status"
