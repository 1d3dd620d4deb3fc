#!/usr/bin/env bash
# Formatting, lints, the rules for dependencies (deny.toml), and whether the dashboards are what their code makes. Needs `setup.sh --dev`.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$PRIMEPOOL_ROOT"
"$PRIMEPOOL_ROOT/infra/local/setup.sh" --dev
ensure_cargo_on_path
cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
# The release profile, as everywhere: one build of GMP serves all.
cargo clippy --release --workspace --all-targets -- -D warnings
# cargo-deny reads the manifests of all dependencies, also of those that other systems need and no build here fetched.
cargo fetch --locked --offline >/dev/null 2>&1 || cargo fetch --locked
"$PRIMEPOOL_CARGO_DENY/bin/cargo-deny" --offline check --hide-inclusion-graph -D unmatched-skip -D unnecessary-skip licenses bans sources
"$PRIMEPOOL_ROOT/infra/local/dashboards.sh" --check
"$PRIMEPOOL_KUBERNETES_TYPES/bin/python" -B infra/kubernetes/check.py
if command -v shellcheck >/dev/null; then
	shellcheck -x infra/local/*.sh infra/testing/*.sh infra/compose/*.sh infra/rabbitmq/*.sh infra/systemd/*.sh infra/kubernetes/*.sh fuzz/*.sh .ci/run
fi
