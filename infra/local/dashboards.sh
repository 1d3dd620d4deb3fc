#!/usr/bin/env bash
# Makes the JSON of Grafana's dashboards and alert rules from the code in grafana/. Installs what that needs.
#   dashboards.sh            write it
#   dashboards.sh --check    fail when what is there is not what the code makes
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

grafana=$PRIMEPOOL_ROOT/grafana
parts=(dashboards provisioning/alerting)

generate() { # FOLDER
	local REPLY
	python_of grafana
	# -B: no compiled files in the repository.
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
