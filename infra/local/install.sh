#!/usr/bin/env bash
# Installs the programs, their man pages and their completion scripts: `make install`.
#   install.sh [PREFIX]       default: /usr/local; DESTDIR, if set, is put before it
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

prefix=${DESTDIR-}$(realpath -m -- "${1:-/usr/local}")
programs=(producer consumer primepool experiment)
cd "$PRIMEPOOL_ROOT"

mkdir -p -- "$prefix/bin" 2>/dev/null && [[ -w $prefix/bin ]] ||
	die 2 "$prefix/bin cannot be written: run make install as root, or name another folder, such as PREFIX=$HOME/.local"
build -p primepool-producer -p primepool-consumer -p primepool-monitor -p primepool-experiment -p primepool-packaging
for program in "${programs[@]}"; do
	install -m 755 -- "$PRIMEPOOL_RELEASE/$program" "$prefix/bin/$program"
done
"$PRIMEPOOL_RELEASE/packaging" "$prefix"
say "installed ${programs[*]} in $prefix/bin, with man pages and completions in $prefix/share"
