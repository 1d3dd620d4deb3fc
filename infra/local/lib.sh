# shellcheck shell=bash
# What the scripts share: messages, the identity of processes, finding servers and starting them. Sourced, never run.

# shellcheck source=infra/local/layout.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/layout.sh"

say() { printf 'primepool: %s\n' "$*" >&2 || true; } # a closed terminal must not stop a clean-up

die() { # STATUS MESSAGE…
	local status=$1
	shift
	say "$@"
	exit "$status"
}

# A mark is "PID START": the start time tells a process from a later one that was given the same number.

mark_of() { # PID → REPLY; fails when there is no such process or it is a zombie
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	stat=${stat##*) } # the name in brackets may contain anything
	local -a fields
	read -ra fields <<<"$stat"
	[[ ${fields[0]} != [ZX] ]] || return 1
	REPLY="$1 ${fields[19]}"
}

mark_alive() { # MARK
	local REPLY
	[[ $1 ]] && mark_of "${1%% *}" && [[ $REPLY == "$1" ]]
}

read_mark() { # FILE → REPLY (empty when there is no mark)
	REPLY=
	{ read -r REPLY <"$1"; } 2>/dev/null || true
}

wait_gone() { # MARK SECONDS; fails when the process is still there
	local tries=$(($2 * 20))
	while mark_alive "$1"; do
		((tries-- > 0)) || return 1
		sleep 0.05
	done
}

end_process() { # MARK GRACE_SECONDS: ask, wait, then insist
	mark_alive "$1" || return 0
	kill -TERM "${1%% *}" 2>/dev/null || true
	wait_gone "$1" "$2" && return 0
	kill -KILL "${1%% *}" 2>/dev/null || true
	wait_gone "$1" 10 || say "process ${1%% *} cannot be ended"
}

random_hex() { # BYTES
	od -An -v -tx1 -N"$1" /dev/urandom | tr -d ' \n'
}

rabbitmq_sbin() { # → REPLY, RabbitMQ's own scripts: the wrappers in /usr/sbin switch to another user
	local candidates=()
	shopt -s nullglob
	candidates=("${RABBITMQ_HOME:-/nonexistent}"/sbin
		/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin /usr/lib64/rabbitmq/lib/rabbitmq_server-*/sbin
		/usr/local/lib/rabbitmq_server-*/sbin /opt/rabbitmq/sbin /opt/rabbitmq_server-*/sbin)
	shopt -u nullglob
	local found='' each
	for each in "${candidates[@]}"; do
		[[ -x $each/rabbitmq-server ]] || continue
		found=$each
		[[ $each != "${RABBITMQ_HOME:-}"/sbin ]] || break # named by the user: that one
	done
	REPLY=$found
	[[ $found ]]
}

influxd_is_1() { [[ -x $1 && $("$1" version 2>/dev/null) == "InfluxDB v1."* ]]; }

find_influxd() { # → REPLY, InfluxDB 1.x: its database is made without the set-up that 2 and 3 ask for
	for REPLY in "${PRIMEPOOL_INFLUXD:-}" /usr/bin/influxd /usr/local/bin/influxd "$(command -v influxd)"; do
		! influxd_is_1 "$REPLY" || return 0
	done
	return 1
}

grafana_sdk() { # → REPLY, where the SDK for the dashboards is, in the version that grafana/requirements.txt pins
	local version
	version=$(sed -n 's/^grafana-foundation-sdk==\([^ ]*\).*/\1/p' "$PRIMEPOOL_ROOT/grafana/requirements.txt")
	REPLY=$PRIMEPOOL_TOOLS/grafana-sdk-${version/!/-}
}

peers_python() { # → REPLY, the Python that has the pools which we are compared with, in the versions that requirements.txt pins
	local sum
	sum=$(sha256sum "$PRIMEPOOL_ROOT/experiment/peers/requirements.txt")
	REPLY=$PRIMEPOOL_TOOLS/peers-${sum:0:12}/bin/python
}

# Compose and Buildx as the scripts use them: the system's, or those that setup.sh --docker fetched. The user's own
# configuration stays out, with what it says about contexts and credentials.
docker_plugin() { # NAME
	DOCKER_CONFIG=$PRIMEPOOL_DOCKER_CONFIG docker "$1" version >/dev/null 2>&1
}

# shellcheck disable=SC2016 # apt-get fills it in
debian_mirror() { # → REPLY, where this machine has its Debian packages from
	REPLY=
	! command -v apt-get >/dev/null ||
		REPLY=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
			grep -v -e -security -m 1) || true
	REPLY=${REPLY:-http://deb.debian.org/debian/}
}

# Signatures are checked; the system's own lists and packages are not touched.
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

bench_on_loopback() { # BENCHMARK: reads its traffic off the loopback device
	cd "$PRIMEPOOL_ROOT"
	infra/local/setup.sh
	ensure_cargo_on_path
	# In one go: the same features for both, and dependencies are compiled once.
	cargo build --release --workspace --bins --bench "$1"
	local measure=(cargo bench --offline --workspace --bench "$1")
	# In a network of its own nobody else's traffic is there; only root may make one.
	if command -v ip >/dev/null && unshare --net true 2>/dev/null; then
		exec unshare --net -- bash -c 'ip link set lo up && exec "$@"' bash "${measure[@]}"
	fi
	say "other traffic over the loopback device is counted too: a network apart needs root and iproute2"
	exec "${measure[@]}"
}

ensure_cargo_on_path() { # rustup's folder is often missing from the PATH of non-login shells
	command -v cargo >/dev/null || [[ ! -x ${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo ]] ||
		PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
}

# --- private servers --------------------------------------------------------------------------------------------------

# Variables of the user's own pool are nothing for a private one.
forget() { # PREFIX [PATTERN]: exports no variable of that prefix but those whose names fit the pattern
	local name
	for name in $(compgen -e "$1"); do
		# shellcheck disable=SC2053 # a pattern
		[[ ${2-} && $name == $2 ]] || export -n "${name?}"
	done
}

use_dir() {
	[[ $1 ]] || die 2 "${0##*/}: DIR is empty"
	dir=$1
	[[ $dir == /* ]] || dir=$PWD/$dir
}

# shellcheck disable=SC2034 # `used` is for the caller
# /proc/net is asked instead of connecting: it answers for every address and disturbs nobody.
used_ports() { # SKIPPED_STATES → used
	local table address state _
	used=()
	for table in /proc/net/tcp /proc/net/tcp6; do
		[[ -r $table ]] || continue
		while read -r _ address _ state _; do
			[[ $address == *:* && ! $1 =~ $state ]] || continue
			used[16#${address##*:}]=1
		done <"$table"
	done
}

listens() { # PID PORT: is it this very process that listens on 127.0.0.1:PORT?
	local pattern inode
	printf -v pattern ': (0100007F|7F000001):%04X 00000000:0000 0A ' "$2" # in the machine's byte order
	inode=$(grep -E -- "$pattern" /proc/net/tcp | awk '{ print $10 }') || return 1
	[[ $inode && $(find "/proc/$1/fd" -lname "socket:\[$inode\]" 2>/dev/null) ]]
}

# Everything long-lived gets its own session and no descriptor of the caller: a Ctrl-C in the terminal must not reach the
# server before the producer has reported, and a test that captures our output must not wait for the broker to end.
detached() { # LOG COMMAND… → REPLY, a mark
	local log=$1
	shift
	(
		trap - INT QUIT # a background job of a shell ignores these, and would pass that on
		cd /
		# A container without a limit on open files makes the Erlang VM reserve memory for a thousand million of them.
		ulimit -Sn 65536 2>/dev/null || true
		exec setsid "$@"
	) </dev/null >>"$log" 2>&1 &
	mark_of $! || REPLY=
}

# --- scripts that attend to a child and clean up after it -------------------------------------------------------------

# Bash runs a trap only when the foreground command has ended, so a command that may take long runs in the background
# of the script, but in the terminal's foreground group and with the terminal's input: Ctrl-C reaches it as well.

child='' child_mark='' child_signal='' signalled=''

attend_signals() { # CLEAN_UP: a function, called once at the end with the exit status
	clean_up=$1
	trap 'at_exit $?' EXIT
	trap 'on_signal INT 130' INT
	trap 'on_signal TERM 143' TERM
	trap 'on_signal HUP 129' HUP
}

at_exit() {
	trap '' INT TERM HUP # an impatient Ctrl-C must not cut the clean-up short
	trap - EXIT
	set +e
	"$clean_up" "$1"
	exit "$1"
}

on_signal() { # NAME STATUS
	signalled=${signalled:-$2}
	[[ $child ]] || exit "$signalled"
	# Ctrl-C: the terminal has sent it to the child too, and a second one would mean more than the first.
	[[ $1 != INT ]] || return 0
	kill -"$child_signal" "$child" 2>/dev/null || true
	(wait_gone "$child_mark" 15 || kill -KILL "$child") &
}

start_child() { # SIGNAL COMMAND…: SIGNAL is what makes it end in good order
	child_signal=$1
	shift
	(
		trap - INT QUIT # ignored in the background otherwise
		exec "$@"
	) <&0 &
	child=$!
	mark_of "$child" && child_mark=$REPLY || child_mark=
}

# Looks instead of waiting, so that one `wait` is made, when the child has ended: cut short by a signal, it could neither
# tell the signal's status from the child's nor be made again.
await_child() { # its status
	local status=0
	while mark_alive "$child_mark"; do
		sleep 0.1 || true
	done
	wait "$child" || status=$?
	child='' child_mark=''
	return "$status"
}

attend() { # SIGNAL COMMAND…: the command's status; ends the script if a signal came meanwhile
	local status=0
	start_child "$@"
	await_child || status=$?
	[[ ! $signalled ]] || exit "$signalled"
	return "$status"
}
