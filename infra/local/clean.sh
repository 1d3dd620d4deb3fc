#!/usr/bin/env bash
# Deletes what was built and the state of private servers that no longer run. Results in runs/ stay.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

for mark in "$PRIMEPOOL_STATE"/*/{vm,server,broker/vm,influx/server}; do
	read_mark "$mark"
	mark_alive "$REPLY" || continue
	running=$(dirname "$mark")
	script=influx.sh
	[[ $mark != */vm ]] || script=broker.sh
	die 1 "a private server runs in $running: end what uses it, or run infra/local/$script stop $running"
done
# By name: the folder may have been set to one that holds other things.
rm -rf -- "$PRIMEPOOL_STATE"/{run,test,bench,experiment,compare}-* "$PRIMEPOOL_STATE"/{fuzz,logs,setup.log}
[[ ! -d $PRIMEPOOL_STATE ]] || rmdir --ignore-fail-on-non-empty -- "$PRIMEPOOL_STATE"
ensure_cargo_on_path
! command -v cargo >/dev/null || (cd "$PRIMEPOOL_ROOT" && cargo clean)
