#!/usr/bin/env bash
# A sweep on this machine, on a private broker: experiment.sh [ARGUMENTS OF experiment run…]
# Without arguments a small one, of about five minutes: nodes of a quarter core each.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
here=$PRIMEPOOL_ROOT/infra/local
work=$PRIMEPOOL_STATE/experiment-$$

# shellcheck disable=SC2317 # called through attend_signals
clean_up() {
	end_process "$child_mark" 45
	"$here/broker.sh" stop "$work"
	rm -rf -- "$work"
}

cd "$PRIMEPOOL_ROOT"
attend_signals clean_up
attend TERM "$here/setup.sh" || exit $?
ensure_cargo_on_path
attend TERM cargo build --release --bins || die 1 "the build failed: see above"
if (($# == 0)); then
	set -- --nodes 1,2,4,6 --workers 1 --repeat 3 --min-time 15s --cpus-per-node 0.25
fi
attend TERM "$here/broker.sh" start "$work" --watch-pid $$ --remove || exit $?
PRIMEPOOL_AMQP_URL=$(<"$work/amqp-url")
PRIMEPOOL_BROKER_PID=$(<"$work/pid")
export PRIMEPOOL_AMQP_URL PRIMEPOOL_BROKER_PID
status=0
attend INT "$PRIMEPOOL_RELEASE/experiment" run "$@" || status=$?
[[ ! $signalled ]] || status=$signalled
exit "$status"
