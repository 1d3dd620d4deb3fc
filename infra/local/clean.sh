#!/usr/bin/env bash
# Deletes build results, and the state of private servers that no longer run. Results in runs/ stay.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

for file in "$PRIMEPOOL_STATE"/*/pid "$PRIMEPOOL_STATE"/*/*/pid; do
	[[ ! -f $file || ! -d /proc/$(<"$file") ]] ||
		die 1 "a private server runs in ${file%/pid}: end what uses it, or stop it with target/release/sandbox"
done
# Delete by name: PRIMEPOOL_STATE may be a folder that also holds other things.
rm -rf -- "$PRIMEPOOL_STATE"/run-* "$PRIMEPOOL_STATE"/{fuzz,logs,setup.log}
[[ ! -d $PRIMEPOOL_STATE ]] || rmdir --ignore-fail-on-non-empty -- "$PRIMEPOOL_STATE"
ensure_cargo_on_path
! command -v cargo >/dev/null || (cd "$PRIMEPOOL_ROOT" && cargo clean)
