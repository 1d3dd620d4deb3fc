#!/usr/bin/env bash
# In place of rustc, called by cargo (RUSTC_WRAPPER): counts which paths are taken, as cargo-fuzz does, in what reads and in nothing else.
# The many crates that talk to servers would take minutes to build so, and say nothing about what is read.
#   rustc.sh RUSTC ARGUMENT…
set -euo pipefail

instrumented=' primepool_common primepool_consumer primepool_engine primepool_producer
	answer unit control names integers quantities line_protocol addresses producer_line consumer_line folder replies primality
	amq_protocol_uri clap_builder clap_lex const_hex humantime percent_encoding serde serde_core serde_json url '

name='' target=''
for ((i = 1; i < $#; i++)); do
	next=$((i + 1))
	case ${!i} in
	--crate-name) name=${!next} ;;
	--target) target=yes ;; # not a build script or a macro, which runs here and now
	esac
done
if [[ $target && ${instrumented//[$'\n\t']/ } == *" $name "* ]]; then
	set -- "$@" --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
		-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
		-Cllvm-args=-sanitizer-coverage-trace-compares
fi
exec "$@"
