#!/usr/bin/env bash
# Every test, against one private broker.
#   test.sh [CARGO TEST ARGUMENT…]
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
here=$PRIMEPOOL_ROOT/infra/local
broker=$PRIMEPOOL_STATE/test-$$

# shellcheck disable=SC2317 # called through attend_signals
clean_up() {
	end_process "$child_mark" 5
	"$here/broker.sh" stop "$broker"
	rm -rf -- "$broker"
}

cd "$PRIMEPOOL_ROOT"
attend_signals clean_up
attend TERM "$here/setup.sh" --test || exit $?
ensure_cargo_on_path
# The tests start the real binaries, which `cargo test` alone does not build. With tests among the targets, dependencies get the
# features that tests want, here as there, and are compiled once.
targets=(--tests)
((!$#)) || targets=(--test help)
attend TERM cargo build --release --workspace --bins "${targets[@]}" || die 1 "the build failed: see above"
attend TERM "$here/broker.sh" start "$broker" --watch-pid $$ --remove || exit $?

# Variables of the user's own pool would set flags in the tests, and show in the --help texts.
forget PRIMEPOOL_ 'PRIMEPOOL_@(STATE|TOOLS|PORT_BASE|TEST_INFLUX2_*)'
forget INFLUX_
export PRIMEPOOL_TEST_BROKER_DIR=$broker
status=0
attend TERM cargo test --release --workspace "$@" || status=$?
exit "$status"
