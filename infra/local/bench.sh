#!/usr/bin/env bash
# The prime search on one core beside gmpy2, GMP and OpenSSL; see engine/benches/primes.rs. Writes table and plot to
# runs/bench-<date>/. About ten minutes.
# Variables: BITS ("256 512 1024 2048 4096"); ROUNDS (5), how often everything is measured; SECONDS_EACH (1), how long.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

read -ra bits <<<"${BITS:-256 512 1024 2048 4096}"
cd "$PRIMEPOOL_ROOT"
infra/local/setup.sh
ensure_cargo_on_path

# The rivals and the plot need a Python with some packages: one of our own, so that nobody's is touched.
venv=$PRIMEPOOL_TOOLS/bench-python
if [[ ! -x $venv/bin/python ]] || ! "$venv/bin/python" -c 'import gmpy2, matplotlib' 2>/dev/null; then
	command -v python3 >/dev/null || die 2 "python3 is missing: the rivals are measured through it"
	say "making a Python environment in $venv, with gmpy2 and matplotlib from PyPI"
	mkdir -p "$PRIMEPOOL_TOOLS"
	building=$(mktemp -d "$PRIMEPOOL_TOOLS/building.XXXXXX")
	trap 'rm -rf -- "$building"' EXIT
	python3 -m venv "$building" >&2 ||
		die 2 "python3 cannot make environments: on Debian and Ubuntu install python3-venv"
	# With the versions that the results in docs/RESULTS.md were measured with.
	"$building/bin/pip" --quiet --disable-pip-version-check install 'gmpy2==2.3.2' 'matplotlib==3.11.2' ||
		die 2 "pip could not install gmpy2 and matplotlib: see above"
	rm -rf -- "$venv"
	mv -T -- "$building" "$venv"
	trap - EXIT
fi

folder=$PRIMEPOOL_RUNS_DIR/bench-$(date +%Y-%m-%d-%H%M%S)
mkdir -p "$folder"
one_core=()
if command -v taskset >/dev/null; then
	# The last core that this process may use.
	cores=$(taskset -pc $$)
	cores=${cores##*[ ,-]}
	one_core=(taskset -c "$cores")
fi
cargo bench --package primepool-engine --bench primes --no-run
PYTHON=$venv/bin/python "${one_core[@]}" cargo bench --quiet --package primepool-engine --bench primes -- \
	"${bits[@]}" --rounds "${ROUNDS:-5}" --seconds "${SECONDS_EACH:-1}" --records "$folder/records.tsv"
"$venv/bin/python" engine/benches/report.py "$folder"
say "table, plot and all measurements: $folder"
