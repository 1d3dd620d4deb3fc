#!/usr/bin/env bash
# docker-compose.yml on a private Docker engine with real containers: makes the image of the built programs, runs the pool, kills what can be killed. Needs
# root; minutes the first time. Leaves nothing.
#   compose.sh [CARGO TEST ARGUMENT…]
# With PRIMEPOOL_TEST_ENGINE_DIR the engine is in that folder and stays, with its images and caches: for work on these tests. End it with
# target/release/sandbox docker remove FOLDER.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/lib.sh"

cd "$PRIMEPOOL_ROOT"
((EUID == 0)) || die 2 "a private Docker engine needs root: run this with sudo"
"$PRIMEPOOL_ROOT/infra/local/setup.sh" --docker
# As make test builds it: one package alone would be built with other features.
build --workspace --bins --tests
# Variables of the user's own pool would be those of the one under test.
forget PRIMEPOOL_ 'PRIMEPOOL_@(STATE|TOOLS|TEST_ENGINE_DIR)'
exec cargo test --release --workspace --test e2e "$@" -- long::compose --nocapture
