#!/usr/bin/env bash
# Runs during which everything goes wrong that may, each fault alone and then all together: chaos.sh [ARGUMENTS OF chaos…]
# Private brokers and databases, some ten minutes; root for the disk that is full. Leaves runs/chaos/ if a promise was broken.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
here=$PRIMEPOOL_ROOT/infra/local

# Its processes end with it by themselves, its brokers by their watchdogs.
# shellcheck disable=SC2317 # called through attend_signals
clean_up() {
	end_process "$child_mark" 45
}

cd "$PRIMEPOOL_ROOT"
attend_signals clean_up
attend TERM "$here/setup.sh" --test || exit $?
ensure_cargo_on_path
attend TERM cargo build --release --workspace --bins || die 1 "the build failed: see above"
# Variables of the user's own pool are nothing for the private ones.
forget PRIMEPOOL_ 'PRIMEPOOL_@(STATE|TOOLS|PORT_BASE)'
forget INFLUX_
status=0
if (($#)); then
	attend TERM "$PRIMEPOOL_RELEASE/chaos" "$@" || status=$?
else
	attend TERM "$PRIMEPOOL_RELEASE/chaos" || status=$?
	attend TERM "$PRIMEPOOL_RELEASE/chaos" --together || status=$?
fi
exit "$status"
