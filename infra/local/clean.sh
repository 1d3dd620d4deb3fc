#!/usr/bin/env bash
# Deletes what was built and the state of private brokers that no longer run. Results in runs/ stay.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

running=
for vm in "$PRIMEPOOL_STATE"/*/vm "$PRIMEPOOL_STATE"/*/broker/vm; do
	read_mark "$vm"
	! mark_alive "$REPLY" || running=$(dirname "$vm")
done
if [[ $running ]]; then
	die 1 "a private broker runs in $running: end what uses it, or run infra/local/broker.sh stop $running"
fi
# By name: the folder may have been set to one that holds other things.
rm -rf -- "$PRIMEPOOL_STATE"/{run,test,bench}-* "$PRIMEPOOL_STATE"/{logs,setup.log}
[[ ! -d $PRIMEPOOL_STATE ]] || rmdir --ignore-fail-on-non-empty -- "$PRIMEPOOL_STATE"
ensure_cargo_on_path
! command -v cargo >/dev/null || (cd "$PRIMEPOOL_ROOT" && cargo clean)
