#!/usr/bin/env bash
# Installs missing packages of the distribution. Prints nothing if none is missing.
#   setup.sh                for a run without metrics
#   setup.sh --metrics      also a database for metrics, if the distribution has it
#   setup.sh --test         also for the tests: that database, a second one with InfluxDB 2's
#                           protocol, an SSH server, and all of --docker, --factor and --peers
#   setup.sh --test-all     the same, and a browser
#   setup.sh --factor       also gp, PARI's calculator, which factoring is checked against
#   setup.sh --ecm          the same, and GMP-ECM, which the elliptic curves are compared with
#   setup.sh --report       also for reports of experiments and pictures: matplotlib and SciPy, in a
#                           Python environment
#   setup.sh --peers        the same, and the systems that the pool is compared with: Ray, Celery
#                           and Dask, in a Python environment
#   setup.sh --influxdb2    also InfluxDB 2 (--influxdb1: a newer 1.x), built with Go, for the tests
#                           of metrics: some ten minutes
#   setup.sh --dashboards   also Grafana's SDK, which generates the dashboards
#   setup.sh --docker       also a private Docker engine, Compose and Buildx
#   setup.sh --fuzz         also a C++ compiler, which builds the fuzz targets
#   setup.sh --dev          also for the checks: a pinned cargo-deny, Grafana's SDK, and the types
#                           of Kubernetes
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

dev='' dashboards='' tests='' metrics='' docker='' factor='' ecm='' peers='' report='' fuzz='' browser='' influxdb=''
case ${1-} in
'') ;;
--dev) dev=yes dashboards=yes ;;
--dashboards) dashboards=yes ;;
--metrics) metrics=yes ;;
--test) tests=yes metrics=yes docker=yes factor=yes peers=yes report=yes ;;
--test-all) tests=yes metrics=yes docker=yes factor=yes peers=yes report=yes browser=yes ;;
--factor) factor=yes ;;
--ecm) factor=yes ecm=yes ;;
--report) report=yes ;;
--peers) peers=yes report=yes ;;
--influxdb[12]) influxdb=$1 ;;
--docker) docker=yes ;;
--fuzz) fuzz=yes ;;
*) die 2 "usage: infra/local/setup.sh [--metrics | --test | --test-all | --factor | --ecm | --report | --peers | --influxdb1 | --influxdb2 | --dashboards | --docker | --fuzz | --dev]" ;;
esac

# --- missing packages ---------------------------------------------------------------------------

missing=() # packages
reasons=()

need() { # PACKAGE REASON COMMAND…: succeeds silently when COMMAND does
	local package=$1 reason=$2
	shift 2
	"$@" >/dev/null 2>&1 && return 0
	missing+=("$package")
	reasons+=("$package: $reason")
}

# The packages with the Docker client, Compose 2 and Buildx differ. Debian 13 and later and Ubuntu
# have them under various names. Debian 12 has the client in docker.io, and no usable version of the
# other two.
look_for_docker() {
	local package version
	need docker.io "a container engine; a private one is started, the system's is left off" command -v dockerd
	need iptables "the network of containers" command -v iptables
	need iproute2 "the network of containers" command -v ip
	need slirp4netns "the network of a private engine, apart from this machine's" command -v slirp4netns
	need debootstrap "to make images without an image registry" command -v debootstrap
	need debian-archive-keyring "the keys of Debian's packages, for these images" \
		test -e /usr/share/keyrings/debian-archive-keyring.gpg
	if candidate docker-cli; then
		need docker-cli "the client of the container engine" command -v docker
	fi
	for package in docker-compose-v2 docker-compose; do
		candidate "$package" || continue
		version=$REPLY
		[[ ${version#*:} != 1.* ]] || continue
		need "$package" "several containers at once" docker_plugin compose
		break
	done
	if candidate docker-buildx; then
		need docker-buildx "to build images" docker_plugin buildx
	fi
}

candidate() { # PACKAGE → REPLY, the version that apt-get would install
	command -v apt-cache >/dev/null || return 1
	REPLY=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9].*\)/\1/p')
	[[ $REPLY ]]
}

has_broker() { has_rabbitmq && command -v erl && command -v epmd; }

look() {
	local gmp="to build GMP, the arithmetic of the engine"
	missing=() reasons=()
	need rabbitmq-server "the message broker; a private one is started for each run" has_broker
	[[ ! $metrics ]] ||
		need influxdb "the database for metrics; a private one is started for each run" has_influxd
	[[ ! $dashboards ]] ||
		need python3-venv "Python 3.11 or newer, to make the dashboards from their code" python3 -c 'import ensurepip, enum; enum.StrEnum'
	[[ ! $report ]] ||
		need python3-venv "Python 3.11 or newer, for reports and pictures" python3 -c 'import ensurepip, enum; enum.StrEnum'
	[[ ! $peers ]] ||
		need util-linux "setpriv, so that their processes end with ours" command -v setpriv
	[[ ! $factor ]] ||
		need pari-gp "gp, for the factors that ours are compared with" command -v gp
	[[ ! $ecm ]] ||
		need gmp-ecm "ecm, for the curves that ours are compared with" command -v ecm
	[[ ! $tests ]] ||
		need openssh-server "an SSH server, for the test of nodes on other machines" test -x /usr/sbin/sshd
	[[ ! $tests ]] ||
		need openssh-client "an SSH client, for the same" command -v ssh
	[[ ! $tests ]] ||
		need systemd "systemd-analyze, for the test of the service's unit" command -v systemd-analyze
	[[ ! $tests ]] ||
		need faketime "clocks that jump, for the test of faults" compgen -G '/usr/lib/*/faketime/libfaketime.so.1'
	[[ ! $tests ]] ||
		need util-linux "setpriv and unshare, so that what the tests start and mount goes with them" command -v unshare
	[[ ! $tests ]] ||
		need victoria-metrics "a database that speaks InfluxDB 2's protocol, for the tests of metrics" command -v victoria-metrics
	[[ ! $browser ]] ||
		need chromium-driver "a browser without a screen, for the test of the dashboard" command -v chromedriver
	[[ ! $fuzz ]] ||
		need g++ "to build libFuzzer, which the fuzz targets run on" command -v c++
	need gcc "compiler and linker, $gmp" command -v gcc
	need libc6-dev "C headers and libraries, $gmp" test -e /usr/include/stdio.h
	need make "$gmp" command -v make
	need m4 "$gmp" command -v m4
	need diffutils "$gmp" command -v diff
	[[ ! $docker ]] || look_for_docker
}

# --- installation -------------------------------------------------------------------------------

as_root=()

may_install() {
	((EUID != 0)) || return 0
	command -v sudo >/dev/null || return 1
	as_root=(sudo)
	sudo -n true 2>/dev/null && return 0
	[[ -t 0 ]] || return 1 # no user to type a password
	announce
	sudo -v 2>/dev/null
}

# Whether apt-get can install a package. Also succeeds if the package lists must be updated to know.
offered() { # PACKAGE
	command -v apt-cache >/dev/null || return 1
	compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || return 0
	[[ $(apt-cache policy "$1" 2>/dev/null) == *Candidate:\ [0-9]* ]]
}

announced=
announce() {
	[[ ! $announced ]] || return 0
	announced=yes
	local reason
	say "missing, and about to be installed with apt-get:"
	for reason in "${reasons[@]}"; do
		say "  $reason"
	done
}

# Packages start and enable servers, which is not wanted here. A file policy-rc.d is Debian's way to
# prevent the start. This one forbids it only while its apt-get process lives, so that a file left
# behind by a kill does no harm; the next set-up removes it.
policy=/usr/sbin/policy-rc.d
policy_mark="# made by primepool's setup.sh for one installation, process"

# shellcheck disable=SC2016 # expanded by the shell that runs as root and becomes apt-get
apt_program='
	policy=$1 mark=$2
	shift 2
	if [ ! -e "$policy" ]; then
		umask 022
		printf "#!/bin/sh\n%s %s\n[ -d /proc/%s ] || exit 0\nexit 101\n" "$mark" $$ $$ >"$policy"
		chmod 755 "$policy"
	fi
	export DEBIAN_FRONTEND=noninteractive
	exec apt-get -y -q -o DPkg::Lock::Timeout=300 "$@"'

apt() {
	"${as_root[@]}" sh -c "$apt_program" sh "$policy" "$policy_mark" "$@" </dev/null >>"$log" 2>&1
}

services_again() {
	local owner
	[[ -e $policy ]] || return 0
	owner=$(sed -n "s/^$policy_mark //p" "$policy")
	[[ ! $owner || -d /proc/$owner ]] || "${as_root[@]}" rm -f "$policy"
}

units=(rabbitmq-server.service epmd.service epmd.socket influxdb.service victoria-metrics.service ssh.service ssh.socket
	docker.service docker.socket containerd.service)
known_units() { # → REPLY: the units that exist already; they may be the user's and are not touched
	local unit
	REPLY=' '
	for unit in "${units[@]}"; do
		[[ ! -e /lib/systemd/system/$unit && ! -e /etc/systemd/system/$unit ]] || REPLY+="$unit "
	done
}
disable_new_units() { # EXISTING UNITS
	local unit now=()
	[[ ! -d /run/systemd/system ]] || now=(--now)
	for unit in "${units[@]}"; do
		[[ $1 != *" $unit "* && -e /lib/systemd/system/$unit ]] || continue
		if command -v systemctl; then
			"${as_root[@]}" systemctl "${now[@]}" disable "$unit"
		elif [[ -e /etc/init.d/${unit%.service} ]]; then
			"${as_root[@]}" update-rc.d "${unit%.service}" disable
		fi >>"$log" 2>&1 || say "could not disable $unit: see $log"
	done
}

install() {
	local before started=$SECONDS
	mkdir -p "$PRIMEPOOL_STATE"
	log=$PRIMEPOOL_STATE/setup.log
	: >"$log"
	# The vendor's package of InfluxDB 2 conflicts with Debian's InfluxDB. If it is installed,
	# --no-remove keeps it, and this script reports that the installation failed.
	local install=(install --no-install-recommends --no-remove "${missing[@]}")
	known_units
	before=$REPLY
	trap services_again EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	if ! compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || ! apt "${install[@]}"; then
		# There are no package lists, or they are outdated and name files that no longer exist.
		if ! apt update || ! apt "${install[@]}"; then
			tail -n 15 "$log" >&2
			die 2 "apt-get could not install ${missing[*]}; all of its output: $log"
		fi
	fi
	disable_new_units "$before"
	services_again
	trap - EXIT INT TERM HUP
	look
	((${#missing[@]} == 0)) || die 2 "installed, but still not found: ${missing[*]}; see $log"
	rm -f -- "$log"
	say "installed in $((SECONDS - started)) s"
}

rust_version() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$PRIMEPOOL_ROOT/Cargo.toml"; }

# --- main ---------------------------------------------------------------------------------------

((EUID != 0)) || services_again # left by a killed set-up
ensure_cargo_on_path
command -v cargo >/dev/null ||
	die 2 "cargo is missing: install a Rust toolchain, $(rust_version) or newer, from rustup.rs, and have its cargo on the PATH"

look
if [[ $metrics && ! $tests && " ${missing[*]-} " == *" influxdb "* ]] && ! offered influxdb; then
	say "this system has no package with InfluxDB 1.x: runs leave their metrics in metrics.lp"
	metrics=''
	look
fi
if ((${#missing[@]})); then
	command -v apt-get >/dev/null ||
		die 2 "needed and not found: ${missing[*]} (Debian's names); there is no apt-get here, so install them with this system's package manager"
	may_install ||
		die 2 "missing packages and no right to install them: ask the administrator to run: apt-get install --no-install-recommends ${missing[*]}"
	announce
	install
fi

# Tools are built in a temporary folder and moved when complete. Neither two concurrent set-ups nor
# a killed one can leave a half-built tool.
building=''
trap '[[ ! $building ]] || rm -rf -- "$building"' EXIT

keep() { # MADE TOOL PROGRAM
	mv -T -- "$1" "$2" 2>/dev/null || [[ -x $2/$3 ]] || die 2 "cannot write $2"
}

if [[ $dev && ! -x $PRIMEPOOL_CARGO_DENY/bin/cargo-deny ]]; then
	say "building cargo-deny $PRIMEPOOL_CARGO_DENY_VERSION for the checks, once: one to three minutes on two cores"
	mkdir -p "$PRIMEPOOL_TOOLS"
	building=$(mktemp -d "$PRIMEPOOL_TOOLS/building.XXXXXX")
	# cargo-deny computes little; optimising it would take three times as long as all else.
	CARGO_TARGET_DIR=$building/target CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
		CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install --locked --quiet --root "$building/root" \
		--version "=$PRIMEPOOL_CARGO_DENY_VERSION" cargo-deny </dev/null >&2 ||
		die 2 "cargo-deny could not be built: see above"
	keep "$building/root" "$PRIMEPOOL_CARGO_DENY" bin/cargo-deny
	rm -rf -- "$building"
fi

# Makes a Python environment with the packages pinned in FOLDER/requirements.txt, unless it exists.
# Its python works after the move too; its other programs would not, and are not used.
python_environment() { # FOLDER WHAT [HINT]
	local REPLY
	python_of "$1"
	[[ ! -x $REPLY ]] || return 0
	say "installing $2, once"
	mkdir -p "$PRIMEPOOL_TOOLS"
	building=$(mktemp -d "$PRIMEPOOL_TOOLS/building.XXXXXX")
	python3 -m venv "$building/root" >&2 || die 2 "Python could not make a virtual environment: see above"
	"$building/root/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--require-hashes --requirement "$PRIMEPOOL_ROOT/$1/requirements.txt" </dev/null >&2 ||
		die 2 "$2 could not be installed: see above${3:+; $3}"
	rm -rf -- "${REPLY%/bin/python}" # an environment whose Python is gone
	keep "$building/root" "${REPLY%/bin/python}" bin/python
	rm -rf -- "$building"
}

[[ ! $dashboards ]] || python_environment grafana "Grafana's SDK for the dashboards"
[[ ! $dev ]] || python_environment infra/kubernetes "the types of Kubernetes and KEDA to check the manifests"
[[ ! $report ]] || python_environment experiment/report "matplotlib and SciPy for reports and pictures" "they have wheels for Python 3.11 and newer"
# One requirements file for all of them: without a wheel of each for this Python, nothing is
# installed.
[[ ! $peers ]] || python_environment experiment/peers "Ray, Celery and Dask for the comparison (100 MB)" \
	"they have wheels for Python 3.11 to 3.14 on x86-64 and aarch64; python3 is $(python3 -c 'import platform; print(platform.python_version())')"

# For Debian 12: unpack the packages of Debian 13 without installing them; the programs need only a
# C library.
if [[ $docker ]] && ! { docker_plugin compose && docker_plugin buildx; }; then
	say "fetching Compose 2 and Buildx from the packages of Debian 13, once"
	mkdir -p "$PRIMEPOOL_TOOLS"
	building=$(mktemp -d "$PRIMEPOOL_TOOLS/building.XXXXXX")
	fetch_debian_packages "$building" trixie docker-compose docker-buildx >"$building/log" 2>&1 || {
		tail -n 15 "$building/log" >&2
		die 2 "Compose 2 and Buildx could not be fetched; with Docker's own packages docker-compose-plugin and docker-buildx-plugin installed, they need not be"
	}
	mkdir -p "$building/config/cli-plugins"
	for package in "$building"/*.deb; do
		dpkg-deb -x "$package" "$building/root"
	done
	find "$building/root" -path '*/cli-plugins/docker-*' -exec cp -t "$building/config/cli-plugins" {} +
	rm -rf -- "$PRIMEPOOL_DOCKER_CONFIG"
	keep "$building/config" "$PRIMEPOOL_DOCKER_CONFIG" cli-plugins/docker-compose
	rm -rf -- "$building"
	if ! docker_plugin compose || ! docker_plugin buildx; then
		die 2 "the Compose 2 and Buildx that were fetched do not run here: look at DOCKER_CONFIG=$PRIMEPOOL_DOCKER_CONFIG docker compose version"
	fi
fi

[[ ! $influxdb ]] || { build --package primepool-sandbox && "$PRIMEPOOL_RELEASE/sandbox" "${influxdb#--}" make; }
