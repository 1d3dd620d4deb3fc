#!/usr/bin/env bash
# Generates the JSON of Grafana's dashboards and alert rules from the code in grafana/. Installs the
# Python packages that this needs.
#   dashboards.sh            write the JSON
#   dashboards.sh --check    fail if the JSON differs from the output of the code
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

grafana=$PRIMEPOOL_ROOT/grafana
parts=(dashboards provisioning/alerting)

generate() { # FOLDER
	local REPLY
	python_of grafana
	# -B: write no compiled files into the repository.
	"$REPLY" -B "$grafana/generate.py" "$1"
}

check() {
	local part status=0
	made=$(mktemp -d)
	trap 'rm -rf -- "$made"' EXIT
	generate "$made"
	for part in "${parts[@]}"; do
		diff -ru "$grafana/$part" "$made/$part" >&2 || status=1
	done
	((status == 0)) ||
		die 1 "the JSON in grafana/ is not what the code there makes (+): change the code, run \`make dashboards\` and commit both"
}

case ${1-} in
'' | --check) ;;
*) die 2 "usage: infra/local/dashboards.sh [--check]" ;;
esac
"$PRIMEPOOL_ROOT/infra/local/setup.sh" --dashboards
if [[ ${1-} ]]; then check; else generate "$grafana"; fi
