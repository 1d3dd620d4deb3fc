# shellcheck shell=bash disable=SC2034
# Shared by the scripts: folders, messages, and how to find programs. It is sourced, never run. The
# code for private servers is in infra/sandbox.

PRIMEPOOL_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)

# State of private servers. Safe to delete when nothing runs.
PRIMEPOOL_STATE=${PRIMEPOOL_STATE:-$PRIMEPOOL_ROOT/.primepool}
[[ $PRIMEPOOL_STATE == /* ]] || PRIMEPOOL_STATE=$PWD/$PRIMEPOOL_STATE

# Results that a user keeps, one folder per run. No script deletes them.
PRIMEPOOL_RUNS_DIR=${PRIMEPOOL_RUNS_DIR:-$PRIMEPOOL_ROOT/runs}

# Developer tools. They are outside the repository, so that a fresh clone does not build them again.
PRIMEPOOL_TOOLS=${PRIMEPOOL_TOOLS:-${XDG_CACHE_HOME:-${HOME:-$PRIMEPOOL_STATE}/.cache}/primepool/tools}

# Folder of the built programs.
PRIMEPOOL_RELEASE=${CARGO_TARGET_DIR:-$PRIMEPOOL_ROOT/target}/release

PRIMEPOOL_CARGO_DENY_VERSION=0.20.2
PRIMEPOOL_CARGO_DENY=$PRIMEPOOL_TOOLS/cargo-deny-$PRIMEPOOL_CARGO_DENY_VERSION

# Docker client configuration for private engines. It holds Compose and Buildx where the system has
# neither.
PRIMEPOOL_DOCKER_CONFIG=$PRIMEPOOL_TOOLS/docker

say() { printf 'primepool: %s\n' "$*" >&2 || true; } # a closed terminal must not stop a clean-up

die() { # STATUS MESSAGE…
	local status=$1
	shift
	say "$@"
	exit "$status"
}

random_hex() { # BYTES
	od -An -v -tx1 -N"$1" /dev/urandom | tr -d ' \n'
}

ensure_cargo_on_path() { # rustup's folder is often missing from the PATH of non-login shells
	command -v cargo >/dev/null || [[ ! -x ${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo ]] ||
		PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
}

build() { # CARGO ARGUMENT…
	ensure_cargo_on_path
	cargo build --release "$@" || die 1 "the build failed: see above"
}

# Variables for the user's own pool would act as flags of the programs under test, and of private
# servers.
forget() { # PREFIX [PATTERN]: unexports variables with this prefix, except names that match PATTERN
	local name
	for name in $(compgen -e "$1"); do
		# shellcheck disable=SC2053 # a pattern
		[[ ${2-} && $name == $2 ]] || export -n "${name?}"
	done
}

has_rabbitmq() { # as infra/sandbox finds it
	compgen -G "${RABBITMQ_HOME:-/nonexistent}/sbin/rabbitmq-server" || compgen -G '/usr/lib*/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server' ||
		compgen -G '/usr/local/lib/rabbitmq*/sbin/rabbitmq-server' || compgen -G '/opt/rabbitmq*/sbin/rabbitmq-server'
}

has_influxd() { # InfluxDB 1.x, as infra/sandbox finds it
	local path
	for path in "${PRIMEPOOL_INFLUXD:-}" /usr/bin/influxd /usr/local/bin/influxd "$(command -v influxd)"; do
		[[ ! -x $path || $("$path" version 2>/dev/null) != "InfluxDB v1."* ]] || return 0
	done
	return 1
}

python_of() { # FOLDER → REPLY, the Python with the packages pinned in FOLDER/requirements.txt
	local sum
	sum=$(sha256sum "$PRIMEPOOL_ROOT/$1/requirements.txt")
	REPLY=$PRIMEPOOL_TOOLS/python-${sum:0:12}/bin/python
}

# Compose and Buildx may be the system's, or those that setup.sh --docker has fetched. The user's
# own Docker configuration is not used.
docker_plugin() { # NAME
	DOCKER_CONFIG=$PRIMEPOOL_DOCKER_CONFIG docker "$1" version >/dev/null 2>&1
}

# shellcheck disable=SC2016 # apt-get fills it in
debian_mirror() { # → REPLY, the Debian mirror that this machine uses
	REPLY=
	! command -v apt-get >/dev/null ||
		REPLY=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
			grep -v -e -security -m 1) || true
	REPLY=${REPLY:-http://deb.debian.org/debian/}
}

# apt checks the signatures. The system's own package lists and packages are not touched.
fetch_debian_packages() { # FOLDER SUITE PACKAGE…: leaves FOLDER/*.deb
	local folder=$1 suite=$2 REPLY
	shift 2
	debian_mirror
	mkdir -p "$folder"/apt/{lists,cache,parts}/partial
	printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$REPLY" "$suite" >"$folder/apt/sources.list"
	: >"$folder/apt/status"
	local apt=(apt-get -q -o Dir::Etc::SourceList="$folder/apt/sources.list" -o Dir::Etc::SourceParts="$folder/apt/parts"
		-o Dir::State::Lists="$folder/apt/lists" -o Dir::Cache="$folder/apt/cache" -o Dir::State::status="$folder/apt/status"
		-o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none)
	"${apt[@]}" update && (cd "$folder" && "${apt[@]}" download "$@")
}
