#!/usr/bin/env bash
# Checks formatting, lints, the rules for dependencies (deny.toml), and whether the generated
# dashboards match their code. Runs `setup.sh --dev` first.
#
# PRIMEPOOL_ADVISORY_DB names a clone of https://github.com/RustSec/advisory-db (branch main) to use
# instead of the network.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# Fetches RustSec's advisory database for cargo-deny. Fails with a message if neither the network
# nor a clone provides it.
fetch_advisories() {
	local url=https://github.com/RustSec/advisory-db
	local clone=${PRIMEPOOL_ADVISORY_DB:-} settings=(GIT_TERMINAL_PROMPT=0)
	if [[ $clone ]]; then
		# cargo-deny does not accept a local path; git substitutes the path for the address.
		settings+=(GIT_CONFIG_COUNT=1 GIT_CONFIG_VALUE_0="$url")
		settings+=(GIT_CONFIG_KEY_0="url.file://$(realpath -- "$clone").insteadOf")
	fi
	if env "${settings[@]}" timeout 30 \
		"$PRIMEPOOL_CARGO_DENY/bin/cargo-deny" --log-level off fetch db; then
		return 0
	fi
	[[ ! $clone ]] || die 2 "PRIMEPOOL_ADVISORY_DB is not a clone of $url with its branch main: $clone"
	say "known holes of dependencies are not checked: $url cannot be reached," \
		"and PRIMEPOOL_ADVISORY_DB names no clone of it"
	return 1
}

cd "$PRIMEPOOL_ROOT"
"$PRIMEPOOL_ROOT/infra/local/setup.sh" --dev
ensure_cargo_on_path
cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
# Use the release profile, like all other builds, so that GMP is built only once.
cargo clippy --release --workspace --all-targets -- -D warnings
# cargo-deny reads the manifests of all dependencies, including those for other systems, which no
# build here has fetched.
cargo fetch --locked --offline >/dev/null 2>&1 || cargo fetch --locked
deny_checks=(licenses bans sources)
if fetch_advisories; then
	deny_checks+=(advisories)
fi
"$PRIMEPOOL_CARGO_DENY/bin/cargo-deny" --offline check --hide-inclusion-graph -D unmatched-skip -D unnecessary-skip \
	"${deny_checks[@]}"
"$PRIMEPOOL_ROOT/infra/local/dashboards.sh" --check
python_of infra/kubernetes
"$REPLY" -B infra/kubernetes/check.py
if command -v shellcheck >/dev/null; then
	shellcheck -x infra/local/*.sh infra/compose/*.sh infra/rabbitmq/*.sh infra/systemd/*.sh infra/kubernetes/*.sh fuzz/*.sh .ci/run
fi
