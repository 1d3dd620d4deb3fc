#!/usr/bin/env bash
# Coverage-guided fuzzing of all code that parses input (fuzz/targets), on all cores. Starts from
# the inputs in fuzz/corpus, and from those that earlier runs on this machine left in
# .primepool/fuzz.
#   fuzz.sh [SECONDS [TARGET…]]    each target for this time, 60 s by default; 0: these inputs once
#   fuzz.sh --short [TARGET…]      fuzz/corpus and thousands of further inputs, the same every time
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
mode=${1-60}
[[ $mode =~ ^([0-9]+|--short)$ ]] || { sed -n 's/^#   /usage: /p' "$0" >&2 && exit 2; }
mapfile -t targets < <(cd "$root/fuzz/corpus" && printf '%s\n' */ | tr -d /)
(($# < 2)) || targets=("${@:2}")
"$root/infra/local/setup.sh" --fuzz
PATH+=:${CARGO_HOME:-$HOME/.cargo}/bin host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/fuzz RUSTC_WRAPPER=$root/fuzz/rustc.sh
cargo build --release --target "$host" --manifest-path "$root/fuzz/Cargo.toml"
program=$CARGO_TARGET_DIR/$host/release/fuzz state=${PRIMEPOOL_STATE:-$root/.primepool}/fuzz

fuzz() { # TARGET: in an empty folder and environment
	local corpus=$root/fuzz/corpus/$1 found=$state/$1 log=$work/$1/log further=40000
	local options=(-max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1)
	mkdir -p "$work/$1"/{empty,new} "$found" "$root/fuzz/artifacts"
	case $1 in
	*_line) options+=("-dict=$root/fuzz/lines.dict") ;;
	unit | answer | certificate | control | presence | folder | replies) options+=("-dict=$root/fuzz/json.dict") ;;
	esac
	# These targets take a millisecond for each input, and have few paths to find.
	[[ $1 != @(*_line|line_protocol|primality|certificate) ]] || further=2000
	case $mode in
	--short) found=$work/$1/new options+=(-seed=1 "-runs=$further") ;;
	0) options+=(-runs=0) ;;
	*) options+=("-max_total_time=$mode") ;;
	esac
	options+=("-artifact_prefix=$root/fuzz/artifacts/$1-" "$found" "$corpus")
	env -i -C "$work/$1/empty" FUZZ_TARGET="$1" "$program" "${options[@]}" </dev/null &>"$log" || {
		tail -n 25 "$log"
		echo "primepool: $1 failed; again: FUZZ_TARGET=$1 $program FILE; keep FILE in $corpus"
		return 1
	}
	echo "primepool: $1: $(sed -n 's/^stat::number_of_exec.*: *//p' "$log") inputs, no failure"
}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
export -f fuzz
export root mode program state work
# shellcheck disable=SC2016 # expanded by the inner shell
printf '%s\0' "${targets[@]}" | xargs -0 -n1 -P "$(nproc)" bash -euo pipefail -c 'fuzz "$1" >&2' _
