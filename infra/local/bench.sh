#!/usr/bin/env bash
# Benchmarks, for an otherwise idle machine: bench.sh NAME. The source of each says what it measures
# and which variables it reads.
#   primes   the prime search on one core, beside gmpy2, GMP, OpenSSL and crypto-primes:
#            engine/benches/primes.rs, half an hour. Leaves table and plot in runs/bench-<date>/.
#            BITS ("256 512 1024 2048 4096"), ROUNDS (5), SECONDS_EACH (1)
#   factor   factoring on one core, beside PARI's gp and GMP-ECM, and some kernels, half an hour:
#            factor/benches/factor.rs. BITS ("40 48 64 80 96 112 128 160 192 224 256"; without
#            GMP-ECM if BITS is set; "ecm": only GMP-ECM)
#   tune     the effect of each parameter of the quadratic sieve on this machine:
#            factor/benches/tune.rs. KERNEL, BITS ("96 128 160 192 208")
#   pool     the pool, beside a bare loop of the engine and beside lapin alone: tests/benches/pool/.
#            ROUNDS (7), BITS; ONLY_SHARES=1: a small run beside a large one;
#            BASE=DIR: beside the programs of an earlier build
#   broker   the cost of units and consumers for the broker: tests/benches/broker.rs.
#            CONSUMERS (1,10,100,200,500,1000)
#   spread   one hard number on several workers, beside one, 20 minutes: tests/benches/spread.rs.
#            Needs root, for shares of a core
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$PRIMEPOOL_ROOT"
ensure_cargo_on_path

on_loopback() { # BENCHMARK: one that measures traffic on the loopback device
	infra/local/setup.sh
	cargo build --release --workspace --bins --bench "$1"
	local measure=(cargo bench --offline --workspace --bench "$1")
	# A network namespace of its own has no other traffic; only root can create one.
	if command -v ip >/dev/null && unshare --net true 2>/dev/null; then
		exec unshare --net -- bash -c 'ip link set lo up && exec "$@"' bash "${measure[@]}"
	fi
	say "other traffic over the loopback device is counted too: a network apart needs root and iproute2"
	exec "${measure[@]}"
}

primes() {
	local bits python folder cores one_core=()
	read -ra bits <<<"${BITS:-256 512 1024 2048 4096}"
	infra/local/setup.sh --report # it installs gmpy2 too
	python_of experiment/report
	python=$REPLY
	folder=$PRIMEPOOL_RUNS_DIR/bench-$(date +%Y-%m-%d-%H%M%S)
	mkdir -p "$folder"
	if command -v taskset >/dev/null; then
		cores=$(taskset -pc $$) # the last core that this process may use
		one_core=(taskset -c "${cores##*[ ,-]}")
	fi
	cargo bench --package primepool-engine --bench primes --no-run
	cargo build --release --manifest-path engine/benches/crypto-primes/Cargo.toml --target-dir target/crypto-primes
	CRYPTO_PRIMES=$PWD/target/crypto-primes/release/crypto-primes-rate PYTHON=$python "${one_core[@]}" cargo bench --quiet --package primepool-engine --bench primes -- \
		"${bits[@]}" --rounds "${ROUNDS:-5}" --seconds "${SECONDS_EACH:-1}" --records "$folder/records.tsv"
	"$python" engine/benches/report.py "$folder"
	"$python" -B experiment/report primes "$folder"
	say "table, plot and all measurements: $folder"
}

case ${1-} in
primes) primes ;;
factor)
	infra/local/setup.sh --ecm
	read -ra bits <<<"${BITS-}"
	exec cargo bench --package primepool-factor --bench factor -- "${bits[@]}"
	;;
tune)
	infra/local/setup.sh
	read -ra bits <<<"${BITS:-96 128 160 192 208}"
	exec cargo bench --package primepool-factor --bench tune -- ${KERNEL:+"$KERNEL"} "${bits[@]}"
	;;
pool)
	infra/local/setup.sh --metrics
	cargo build --release --workspace --bins --bench pool
	exec cargo bench --workspace --bench pool
	;;
broker)
	ulimit -n "$(ulimit -Hn)" # each consumer has two connections, each with a file at the broker
	on_loopback broker
	;;
spread) on_loopback spread ;;
*) die 2 "usage: infra/local/bench.sh primes|factor|tune|pool|broker|spread" ;;
esac
