#!/usr/bin/env bash
# Coverage-guided fuzzing of everything that comes from outside (fuzz/targets): builds the targets, starts from the corpus that is
# kept, and fails with the input that breaks a property.
#   fuzz.sh [SECONDS [TARGET…]]    so long for each target, 60 unless given; 0: only what is kept, once
#   fuzz.sh --short [TARGET…]      what is kept, and so many further inputs, the same ones every time
#   fuzz.sh --minimise [TARGET…]   makes fuzz/corpus of it and of what earlier runs have found: what covers all that they do
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

fuzz=$PRIMEPOOL_ROOT/fuzz
# What the runs on this machine have found beyond the corpus.
found=$PRIMEPOOL_STATE/fuzz
faults=$fuzz/artifacts
longest=4096
# Further inputs of a short run.
further=2000

# shellcheck disable=SC2317 # called through attend_signals
clean_up() {
	end_process "$child_mark" 5
	rm -rf -- "$work"
}

run() { # TARGET ARGUMENT OF LIBFUZZER…: in an empty folder, with nothing of the caller's environment
	local target=$1
	shift
	attend TERM env -i -C "$work/empty" "$built/$target" -max_len=$longest -timeout=20 -rss_limit_mb=2048 \
		-artifact_prefix="$faults/$target-" "$@" </dev/null >"$work/log" 2>&1 || broken "$target"
}

# shellcheck disable=SC2317 # called by run
broken() { # TARGET
	local input
	tail -n 25 "$work/log" >&2
	input=$(sed -n 's/.*Test unit written to //p' "$work/log" | tail -n 1)
	die 1 "$1 has found something${input:+; again: $built/$1 $input. When it is mended, put that file into fuzz/corpus/$1/}"
}

fuzz_one() { # TARGET
	local target=$1 options=(-print_final_stats=1) dictionary began=$SECONDS count
	mkdir -p "$found/$target" "$faults"
	case $target in
	unit | answer | control | folder | replies) dictionary=json ;;
	producer_line | consumer_line) dictionary=lines ;;
	*) dictionary='' ;;
	esac
	[[ ! $dictionary ]] || options+=(-dict="$fuzz/$dictionary.dict")
	local corpora=("$found/$target" "$fuzz/corpus/$target")
	if [[ $seconds == short ]]; then
		# What this machine has found before would change what comes next.
		mkdir -p "$work/$target"
		corpora[0]=$work/$target
		local kept
		kept=$(find "$fuzz/corpus/$target" -type f | wc -l)
		options+=(-seed=1 -runs=$((kept + further)))
	elif ((seconds)); then
		options+=(-max_total_time="$seconds")
	else
		options+=(-runs=0)
	fi
	run "$target" "${options[@]}" "${corpora[@]}"
	count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
	say "$target: $count inputs in $((SECONDS - began)) s, nothing found"
}

minimise_one() { # TARGET
	local target=$1
	mkdir -p "$found/$target" "$work/$target" "$faults"
	run "$target" -set_cover_merge=1 "$work/$target" "$fuzz/corpus/$target" "$found/$target"
	# Seeds are named by hand and stay; inputs by their hash.
	find "$fuzz/corpus/$target" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
	local input
	for input in "$work/$target"/*; do
		[[ ! -f $input ]] || cmp -s "$input" "$fuzz/corpus/$target/${input##*/}" || cp -- "$input" "$fuzz/corpus/$target/"
	done
	say "$target: $(find "$fuzz/corpus/$target" -type f | wc -l) inputs, $(cat "$fuzz/corpus/$target"/* | wc -c) bytes"
}

what=fuzz_one seconds=60
case ${1-} in
--short)
	seconds=short
	shift
	;;
--minimise)
	what=minimise_one
	shift
	;;
'') ;;
*[!0-9]*) die 2 "usage: infra/local/fuzz.sh [SECONDS [TARGET…]] | --short [TARGET…] | --minimise [TARGET…]" ;;
*)
	seconds=$1
	shift
	;;
esac
targets=("$@")
if ! (($#)); then
	for source in "$fuzz"/targets/*.rs; do
		source=${source##*/}
		targets+=("${source%.rs}")
	done
fi
for target in "${targets[@]}"; do
	[[ -f $fuzz/targets/$target.rs ]] || die 2 "there is no target $target: see fuzz/targets"
done

cd "$PRIMEPOOL_ROOT"
work=$(mktemp -d)
mkdir "$work/empty"
attend_signals clean_up
attend TERM "$PRIMEPOOL_ROOT/infra/local/setup.sh" --fuzz || exit $?
ensure_cargo_on_path
# A target is named, so that flags are not for what runs while building.
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${PRIMEPOOL_RELEASE%/release}/fuzz
built=$CARGO_TARGET_DIR/$host/release
RUSTC_WRAPPER=$fuzz/rustc.sh attend TERM cargo build --release --target "$host" --manifest-path "$fuzz/Cargo.toml" ||
	die 1 "the build failed: see above"
for target in "${targets[@]}"; do
	"$what" "$target"
done
