#!/usr/bin/env bash
# cargo calls this in place of rustc (RUSTC_WRAPPER): coverage is counted in the crates that read
# input, and not in the 300 others, whose instrumentation takes minutes and guides to nothing.
#   rustc.sh RUSTC ARGUMENT…
set -euo pipefail

counted='fuzz|primepool_(common|consumer|factor|fuzz|producer)|clap_builder|clap_lex|const_hex|humantime|serde_json|url'
# Build scripts and macros have no --target.
if [[ " $* " =~ " --crate-name "($counted)" ".*" --target " ]]; then
	set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
		-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
		-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
fi
exec "$@"
