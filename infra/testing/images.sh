#!/usr/bin/env bash
# The images that infra/Dockerfile and docker-compose.yml name, in the private engine of a folder (sandbox docker start): pulled where there is
# a registry, otherwise made from the distribution's packages, under the same names. Made ones carry the label primepool.stand-in.
#   images.sh DIR            all; prints a line for each that is a stand-in or missing
#   images.sh DIR NAME…      these
# With PRIMEPOOL_PROGRAMS the image is made from programs that are built already, and the compiler's is left out.
# Exit status: 2 usage, 3 an image can neither be pulled nor made (Grafana's alone is let pass).
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/lib.sh"
here=$PRIMEPOOL_ROOT/infra/testing

(($#)) || die 2 "usage: infra/testing/images.sh DIR [NAME…]"
dir=$(realpath -- "$1")
shift
((EUID == 0)) || die 2 "making images needs root: run this with sudo"
for program in docker debootstrap; do
	command -v "$program" >/dev/null || die 3 "$program is not installed: run infra/local/setup.sh --docker"
done
export DOCKER_HOST=unix://$dir/docker.sock DOCKER_CONFIG=$PRIMEPOOL_DOCKER_CONFIG
unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
# Not in /tmp, which may be in memory.
work=$(mktemp -d "$dir/images.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

named() { # → the names in the Dockerfile and in the compose file
	local kinds='[A-Z]*'
	[[ ! ${PRIMEPOOL_PROGRAMS-} ]] || kinds=RUNTIME
	sed -n "s/^ARG ${kinds}_IMAGE=//p" "$PRIMEPOOL_ROOT/infra/Dockerfile"
	[[ ! -f $PRIMEPOOL_ROOT/docker-compose.yml ]] ||
		sed -n 's/^ *image: *\([^$]*\)$/\1/p' "$PRIMEPOOL_ROOT/docker-compose.yml"
}

have() { docker image inspect "$1" >/dev/null 2>&1; }

pull() { timeout 600 docker pull --quiet "$1" >"$work/pull.log" 2>&1; }

run_logged() { # WHAT COMMAND…
	local what=$1
	shift
	"$@" >"$work/log" 2>&1 </dev/null && return 0
	tail -n 20 "$work/log" >&2
	die 3 "$what failed: see above"
}

# --- what stands in ---------------------------------------------------------------------------------------------------

# What of this machine its network asks for: how apt gets out, and which authorities are trusted.
copy_machine() { # ROOT
	local file
	mkdir -p "$1/usr/local/share/ca-certificates" "$1/etc/ssl/certs"
	for file in /etc/apt/apt.conf.d/*proxy* /etc/apt/apt.conf /usr/local/share/ca-certificates/*.crt; do
		[[ ! -f $file ]] || cp "$file" "$1$file"
	done
	[[ ! -f /etc/ssl/certs/ca-certificates.crt ]] || cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
}

debian() { # NAME SUITE
	local root=$work/root script=/usr/share/debootstrap/scripts/$2
	[[ -e $script ]] || script=/usr/share/debootstrap/scripts/sid # newer than this debootstrap; the scripts are one and the same
	debian_mirror
	run_logged "debootstrap $2" debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
		"$2" "$root" "$REPLY" "$script"
	rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
	# As in Debian's own images: packages start nothing in a container.
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	copy_machine "$root"
	tar -C "$root" -c . | docker import --change 'CMD ["bash"]' --change "LABEL primepool.stand-in=\"debootstrap of Debian $2\"" - "$1" >"$work/log"
	rm -rf -- "$root"
}

build() { # NAME STAND_IN CONTEXT
	run_logged "building a stand-in of $1" docker build --progress plain --label "primepool.stand-in=$2" -t "$1" "$3"
}

rust() { # NAME: this machine's toolchain
	local context=$work/rust sysroot cache
	ensure_cargo_on_path
	sysroot=$(cd "$PRIMEPOOL_ROOT" && rustc --print sysroot)
	mkdir -p "$context/toolchain/lib"
	cp -rL --reflink=auto "$sysroot/bin" "$context/toolchain/"
	cp -r --reflink=auto "$sysroot/lib/." "$context/toolchain/lib/"
	# GMP as it was built here, if it was: nine minutes less. The image of that name builds it.
	mkdir -p "$context/cache"
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/gmp-mpfr-sys
	[[ ! -d $cache ]] || cp -r "$cache" "$context/cache/"
	cat >"$context/Dockerfile" <<EOF
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY toolchain /usr/local/
COPY cache /root/.cache
ENV CARGO_HOME=/usr/local/cargo
EOF
	image debian:bookworm-slim
	build "$1" "this machine's $(rustc --version)" "$context"
	rm -rf -- "$context"
}

from_packages() { # NAME STAND_IN FOLDER SUITE
	image "debian:$4-slim"
	build "$1" "$2" "$here/stand-ins/$3"
}

stand_in() { # NAME
	case $1 in
	debian:*-slim)
		local suite=${1#debian:}
		debian "$1" "${suite%-slim}"
		;;
	rust:*-slim-bookworm) rust "$1" ;;
	rabbitmq:4*-management) from_packages "$1" "RabbitMQ of Debian 13" rabbitmq trixie ;;
	influxdb:2*) from_packages "$1" "InfluxDB 1.6 of Debian 12, without authentication" influxdb bookworm ;;
	*) return 1 ;;
	esac
}

image() { # NAME
	local began=$SECONDS
	have "$1" && return 0
	if pull "$1"; then
		say "$1: pulled"
	elif stand_in "$1"; then
		say "$1: made from packages in $((SECONDS - began)) s"
	else
		tail -n 2 "$work/pull.log" >&2
		return 1
	fi
}

# ----------------------------------------------------------------------------------------------------------------------

(($#)) || mapfile -t names < <(named | sort -u)
(($# == 0)) || names=("$@")
for name in "${names[@]}"; do
	if ! image "$name"; then
		[[ $name == grafana/* ]] || die 3 "$name can neither be pulled nor made from packages"
		printf '%s: missing: cannot be pulled, and no package has it\n' "$name"
		continue
	fi
	label=$(docker image inspect --format '{{index .Config.Labels "primepool.stand-in"}}' "$name")
	[[ ! $label ]] || printf '%s: stand-in: %s\n' "$name" "$label"
done
