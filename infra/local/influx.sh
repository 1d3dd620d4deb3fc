#!/usr/bin/env bash
# A private InfluxDB 1.x: own ports, configuration, administrator and data folder, all on 127.0.0.1.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage() {
	cat <<'EOF'
usage: influx.sh start DIR [--watch-pid PID [--remove]]
           start an InfluxDB with its data in DIR, or again on the same data, credentials and, if they are free, ports;
           with --watch-pid it is stopped when process PID ends, however that ends; --remove then deletes DIR too
       influx.sh stop DIR            stop it; keeps the data
       influx.sh kill DIR            kill -9 the server, for tests of faults; keeps the data, and its ports if it is watched
       influx.sh query DIR DATABASE INFLUXQL
                                     run a query (DATABASE may be empty) and print the answer, as JSON
       influx.sh import DIR DATABASE FILE...
                                     write files of line protocol, such as the metrics.lp of runs; makes the database
DIR holds influx-url, influx-token (USER:PASSWORD; both of mode 600) and, while the server runs, pid.
Exit status: 2 usage, 3 the server does not start or answer.
EOF
}

self=$PRIMEPOOL_ROOT/infra/local/influx.sh
user=primepool
dir='' # set by use_dir

# What is where in DIR:
# env       ports, fixed for the life of the data
# pid       process number of the server, for callers
# server, watchdog   marks (see lib.sh) of the two processes

load_dir() {
	use_dir "$1"
	[[ -f $dir/env ]] || die 2 "no private InfluxDB in $dir"
	# shellcheck source=/dev/null
	. "$dir/env"
}

# --- configuration ----------------------------------------------------------------------------------------------------

toml() { # TEXT → REPLY, quoted
	REPLY=${1//\\/\\\\}
	REPLY=\"${REPLY//\"/\\\"}\"
}

write_config() {
	local data
	toml "$dir/data"
	data=${REPLY%\"}
	cat >"$dir/influxdb.conf" <<EOF
# Made by influx.sh at each start.
reporting-disabled = true # nothing goes to the maker
bind-address = "127.0.0.1:$backup_port" # for influxd backup

[meta]
dir = $data/meta"

[data]
dir = $data/data"
wal-dir = $data/wal"
query-log-enabled = false
cache-max-memory-size = 268435456
max-concurrent-compactions = 1 # the cores belong to the workers
# A run has a name of its own in a tag, so tags have many values in time.
max-series-per-database = 0
max-values-per-tag = 0

[http]
bind-address = "127.0.0.1:$http_port"
auth-enabled = true
log-enabled = false
pprof-enabled = false

[monitor]
store-enabled = false

[continuous_queries]
enabled = false

[subscriber]
enabled = false

[logging]
level = "info"
suppress-logo = true
EOF
}

# --- talking to it ----------------------------------------------------------------------------------------------------

# By the shell itself: no other program is needed, and no password gets onto a command line.
http() { # METHOD PATH HEADER BODY → status, body; fails when nobody answers
	local connection line
	status='' body=''
	{ exec {connection}<>"/dev/tcp/127.0.0.1/$http_port"; } 2>/dev/null || return 1
	# HTTP 1.0: the answer ends with the connection, and is not in chunks.
	printf '%s %s HTTP/1.0\r\nHost: 127.0.0.1\r\n%sContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s' \
		"$1" "$2" "${3:+$3$'\r\n'}" "${#4}" "$4" >&"$connection"
	read -r -t 10 _ status _ <&"$connection" || true
	while read -r -t 10 line <&"$connection" && [[ ${line%$'\r'} ]]; do :; done
	IFS= read -r -d '' -t 60 body <&"$connection" || true
	exec {connection}>&-
	[[ $status ]]
}

urlencode() { # TEXT → REPLY
	local LC_ALL=C i each
	REPLY=
	for ((i = 0; i < ${#1}; i++)); do
		each=${1:i:1}
		[[ $each == [A-Za-z0-9._-] ]] || printf -v each '%%%02X' "'$each"
		REPLY+=${each/#%FFFFFFFFFFFFFF/%} # bytes above 127 count as negative
	done
}

load_running() { # DIR → authorization
	local token
	load_dir "$1"
	read_mark "$dir/server"
	mark_alive "$REPLY" || die 3 "the InfluxDB in $dir does not run: start it with infra/local/influx.sh start $dir"
	read -r token <"$dir/influx-token"
	authorization="Authorization: Basic $(printf %s "$token" | base64 -w0)"
}

ask() { # DATABASE INFLUXQL → body
	local form
	urlencode "$1"
	form=db=$REPLY
	urlencode "$2"
	form+="&q=$REPLY"
	http POST /query "$authorization" "$form" || die 3 "the InfluxDB in $dir does not answer"
	[[ $status == 200 ]] || die 3 "the InfluxDB in $dir refused the query: $body"
}

query() { # DIR DATABASE INFLUXQL
	load_running "$1"
	ask "$2" "$3"
	printf '%s\n' "$body"
}

import() { # DIR DATABASE FILE…
	load_running "$1"
	local database=$2 file lines LC_ALL=C # lengths in bytes
	shift 2
	[[ $database && $database != *[\"\\]* ]] || die 2 "influx.sh import: '$database' is no name of a database"
	ask '' "CREATE DATABASE \"$database\""
	urlencode "$database"
	for file; do
		lines=$(<"$file") || die 2 "cannot read $file"
		http POST "/write?db=$REPLY" "$authorization" "$lines" || die 3 "the InfluxDB in $dir does not answer"
		[[ $status == 204 ]] || die 3 "the InfluxDB in $dir refused $file: $body"
	done
}

# Only the first user can be made without one. Should somebody else on this machine have been quicker, this fails.
make_admin() {
	local password
	password=$(random_hex 20)
	urlencode "CREATE USER $user WITH PASSWORD '$password' WITH ALL PRIVILEGES"
	http POST /query '' "q=$REPLY" || return 1
	[[ $status == 200 && $body != *'"error"'* ]] || return 1
	printf '%s:%s\n' "$user" "$password" >"$dir/influx-token"
}

# --- processes --------------------------------------------------------------------------------------------------------

# A server that was killed, and may be started again, does not hold its ports; its watchdog does, by naming them.
kept_ports() { # adds to used
	local process words
	for process in /proc/[0-9]*; do
		mapfile -d '' -t words <"$process/cmdline" || continue
		[[ ${words[1]-} == */influx.sh && ${words[2]-} == --watch && ${words[6]-} ]] || continue
		used[words[6]]=1
		used[words[7]]=1
	done 2>/dev/null
}

# The next block of ten ports whose two are free.
next_ports() {
	local base
	used_ports 06 # TIME_WAIT can be bound again
	kept_ports
	while ((block < PRIMEPOOL_PORT_BLOCKS)); do
		base=$((PRIMEPOOL_PORT_BASE + block++ * PRIMEPOOL_PORT_STEP))
		http_port=$((base + PRIMEPOOL_PORT_INFLUX))
		backup_port=$((base + PRIMEPOOL_PORT_INFLUX_BACKUP))
		[[ ${used[http_port]-}${used[backup_port]-} ]] || return 0
	done
	die 3 "no free block of ports from $PRIMEPOOL_PORT_BASE on: set PRIMEPOOL_PORT_BASE to a free area"
}

make_dir() {
	local leftover
	if [[ -d $dir ]]; then
		leftover=$(find "$dir" -mindepth 1 -maxdepth 1 -print -quit)
		[[ ! $leftover ]] || die 2 "$dir is not empty and holds no private InfluxDB: name another folder"
	fi
	mkdir -p -- "$dir" || die 3 "cannot make $dir"
	chmod 700 "$dir"
	fresh=yes
	mkdir -p "$dir/data" "$dir/log"
}

ports_taken() {
	used_ports "01 02 03 04 05 06 07 08 09 0B 0C" # what listens; connections of the server before may linger
	[[ ${used[http_port]-}${used[backup_port]-} ]]
}

launch() { # INFLUXD → server
	: >"$dir/log/influxd.log"
	write_config
	# INFLUXDB_… variables of the caller would override the file.
	detached "$dir/log/influxd.log" env -i PATH="$PATH" HOME="$dir" LANG=C.UTF-8 "$1" run -config "$dir/influxdb.conf"
	server=$REPLY
	printf '%s\n' "$server" >"$dir/server"
	printf '%s\n' "${server%% *}" >"$dir/pid"
}

await_ready() { # fails when the process ends
	local tries=1200 # of 0.1 s; a write-ahead log that has grown large takes its time
	until listens "${server%% *}" "$http_port" && http GET /ping '' '' && [[ $status == 204 ]]; do
		mark_alive "$server" || return 1
		if ((tries-- == 0)); then
			show_log "InfluxDB was not ready after two minutes"
			exit 3
		fi
		sleep 0.1
	done
}

show_log() {
	say "$1; from its log:"
	tail -n 8 "$dir/log/influxd.log" | cut -c1-300 >&2
}

start_failed() {
	local status=$?
	trap '' INT TERM HUP
	trap - EXIT
	stop_all
	[[ ! ${fresh-} ]] || rm -rf -- "$dir"
	exit "$status"
}

start() {
	use_dir "${1-}"
	local given=$1 watched='' remove='' influxd block=0
	shift
	while (($#)); do
		case $1 in
		--watch-pid)
			mark_of "${2-none}" || die 2 "--watch-pid: there is no process '${2-}'"
			watched=$REPLY
			shift 2
			;;
		--remove)
			remove=remove
			shift
			;;
		*) die 2 "influx.sh start: unknown argument '$1'" ;;
		esac
	done
	[[ $watched || ! $remove ]] || die 2 "influx.sh start: --remove needs --watch-pid"
	find_influxd || die 3 "InfluxDB 1.x is not installed: run infra/local/setup.sh --metrics"
	influxd=$REPLY

	# shellcheck source=/dev/null
	[[ ! -f $dir/env ]] || . "$dir/env"
	read_mark "$dir/server"
	server=$REPLY
	if mark_alive "$server"; then
		[[ ! $watched ]] || watch_over "$watched" "$remove"
		return 0
	fi

	fresh=
	trap start_failed EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	umask 077
	local moved=''
	if [[ ! -f $dir/env ]]; then
		make_dir
		next_ports
	elif ports_taken; then
		# Whoever used it before it was killed looks for it there; nobody does after a stop.
		[[ ! -f $dir/watched ]] ||
			die 3 "port $http_port or $backup_port of the InfluxDB in $dir is in use by another program"
		next_ports
		moved=yes
	fi

	# A server started again is watched for the same process, if that still lives.
	if [[ ! $watched && -f $dir/watched ]]; then
		local pid since flag
		read -r pid since flag <"$dir/watched"
		mark_alive "$pid $since" && watched="$pid $since" remove=$flag
	fi

	while
		launch "$influxd"
		# The watchdog comes before the wait: whoever called may be killed during it.
		[[ ! $watched ]] || watch_over "$watched" "$remove"
		! await_ready
	do
		# Another server may have taken a port since we looked.
		if [[ ! $fresh$moved ]] || ! grep -q 'address already in use' "$dir/log/influxd.log"; then
			show_log "InfluxDB did not start"
			exit 3
		fi
		next_ports
	done
	if [[ $fresh ]]; then
		make_admin || die 3 "cannot make the administrator of the InfluxDB in $dir: ${body:0:300}"
	fi
	if [[ $fresh$moved ]]; then
		printf 'http://127.0.0.1:%s\n' "$http_port" >"$dir/influx-url"
		# Last: a folder with this file is complete.
		printf 'http_port=%s\nbackup_port=%s\n' "$http_port" "$backup_port" >"$dir/env"
	fi
	if [[ $watched ]]; then
		read_mark "$dir/watchdog"
		mark_alive "$REPLY" || die 3 "the watchdog of the InfluxDB in $dir ended"
	fi
	trap - EXIT INT TERM HUP
	[[ $watched || ! -t 2 ]] || next_steps "$given"
}

next_steps() { # DIR as it was given
	say "InfluxDB runs at $(<"$dir/influx-url"), database primepool, user and password in $dir/influx-token"
	say "ask it:  infra/local/influx.sh query $1 primepool 'SELECT sum(\"jobs\") FROM \"job\" GROUP BY \"node\"'"
	say "stop it: infra/local/influx.sh stop $1"
}

watch_over() { # MARK REMOVE
	local watched=$1 remove=$2
	read_mark "$dir/watchdog"
	end_process "$REPLY" 1
	printf '%s %s\n' "$watched" "$remove" >"$dir/watched"
	detached /dev/null bash "$self" --watch "$dir" "$watched" "$remove" "$http_port" "$backup_port"
	printf '%s\n' "$REPLY" >"$dir/watchdog"
}

watch() { # DIR MARK REMOVE PORTS
	use_dir "$1"
	local watched=$2 remove=$3 server pause
	read_mark "$dir/server" && server=$REPLY
	exec {pause}<> <(:) # reading from it with a time limit sleeps without a process for each second
	while mark_alive "$watched"; do
		read -r -t 1 -u "$pause" || true
	done
	rm -f -- "$dir/watchdog"
	end_process "$server" 20 # as remembered: the folder may be gone by now
	forget_processes
	# Ours: a start that was cut short has not written env yet.
	[[ ! $remove || ! -f $dir/influxdb.conf ]] || rm -rf -- "$dir"
}

forget_processes() {
	rm -f -- "$dir/server" "$dir/watchdog" "$dir/watched" "$dir/pid"
}

stop_all() {
	read_mark "$dir/watchdog"
	end_process "$REPLY" 1
	read_mark "$dir/server"
	end_process "$REPLY" 20
	forget_processes
}

stop() {
	use_dir "$1"
	[[ -f $dir/influxdb.conf ]] || return 0
	stop_all
}

# The watchdog stays, as after a crash of the server.
kill_server() {
	load_dir "$1"
	read_mark "$dir/server"
	! mark_alive "$REPLY" || kill -KILL "${REPLY%% *}" 2>/dev/null || true
	wait_gone "$REPLY" 10 || die 3 "process ${REPLY%% *} cannot be killed"
	rm -f -- "$dir/server" "$dir/pid"
}

# ----------------------------------------------------------------------------------------------------------------------

verb=${1-}
(($# == 0)) || shift
case $verb:$# in
start:[1-9]*) start "$@" ;;
stop:1) stop "$@" ;;
kill:1) kill_server "$@" ;;
query:3) query "$@" ;;
import:[3-9] | import:[1-9][0-9]*) import "$@" ;;
--watch:5) watch "$@" ;;
help:* | --help:* | -h:*) usage ;;
*)
	usage >&2
	exit 2
	;;
esac
