#!/usr/bin/env bash
# Runs the tests, with one private broker for all of them. Continues after a failure, and ends with
# a list of the failures.
#   test.sh [CARGO TEST ARGUMENT…]         tests that a change can break
#   test.sh --all [CARGO TEST ARGUMENT…]   also long tests, and all cases of those tests that
#                                          otherwise try a sample
#   test.sh --compose                      only docker-compose.yml on a private Docker engine, with
#                                          an image of the built programs; needs root. With
#                                          PRIMEPOOL_TEST_ENGINE_DIR the engine is in that folder
#                                          and keeps running, for work on this test;
#                                          target/release/sandbox docker remove FOLDER ends it
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

all='' needs=--test
case ${1-} in
--all)
	all=yes needs=--test-all
	shift
	;;
--compose)
	((EUID == 0)) || die 2 "a private Docker engine needs root: run this with sudo"
	needs=--docker
	set -- --test e2e -- long::compose --nocapture
	;;
esac
cd "$PRIMEPOOL_ROOT"
infra/local/setup.sh $needs
# The tests start the real programs, which `cargo test` alone does not build.
build --workspace --bins --tests
forget PRIMEPOOL_ 'PRIMEPOOL_@(STATE|TOOLS|TEST_*)'
forget INFLUX_
# The tests wait for processes and time more than they compute.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}
[[ ! $all ]] || export PRIMEPOOL_TEST_FULL=1

log=$(mktemp)
trap 'rm -f -- "$log"' EXIT
status=0
tests() { # CARGO TEST ARGUMENT…
	"$PRIMEPOOL_RELEASE/sandbox" with env -u PRIMEPOOL_AMQP_URL -u PRIMEPOOL_BROKER_PID \
		cargo test --release --no-fail-fast "$@" 2>&1 | tee -a "$log" || status=$?
}

if (($#)); then
	tests --workspace "$@"
else
	# The groups are modules: see tests/tests/e2e/main.rs. Building one package alone would select
	# other features.
	tests --workspace --tests -- --skip alone:: --skip long::
	RUST_TEST_THREADS=1 tests --workspace --test e2e -- alone::
	[[ ! $all ]] || RUST_TEST_THREADS=1 tests --workspace --test e2e -- long::
fi
if failed=$(grep -E -A 3 '^test .* \.\.\. FAILED|^thread .* panicked at ' "$log"); then
	printf 'failed:\n%s\n' "$failed" >&2
fi
exit "$status"
