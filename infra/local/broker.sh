#!/usr/bin/env bash
# A private RabbitMQ: own ports, node name, credentials, cookie, epmd and data folder, all on 127.0.0.1.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage() {
	cat <<'EOF'
usage: broker.sh start DIR [--watch-pid PID [--remove]] [--management] [--tls CERTS [--mutual]] [--first-of N | --join DIR]
           start a broker with its data in DIR, or again on the same data, ports and credentials;
           with --watch-pid it is stopped when process PID ends, however that ends; --remove then deletes DIR too;
           with --management a new one has the management API, at the address in DIR/management-url;
           with --tls a new one also speaks TLS, at the port in DIR/tls-port, as infra/rabbitmq/tls.conf says, and so does its
           management API; the folder CERTS has ca.pem, head.pem and head.key; with --mutual it wants certificates of clients too,
           which may log in by them alone (EXTERNAL: the common name is the user);
           with --first-of a new one is the first node of a cluster of N, with --join it is the next one of the cluster whose
           first node is in the other DIR (infra/local/cluster.sh starts three)
       broker.sh stop DIR        stop it; keeps the data
       broker.sh kill DIR        kill -9 the server, for tests of faults; keeps the data
       broker.sh vhost DIR NAME  make a virtual host (if it is not there) and print its AMQP URL
       broker.sh user DIR NAME VHOST CONFIGURE WRITE READ <PASSWORD
                                 make a user with these permission patterns, and the password that is the first line of standard
                                 input, and print its AMQP URL
       broker.sh ctl DIR ARG...  run rabbitmqctl against it
DIR holds these addresses (mode 600), and pid while the broker runs:
  amqp-url                    of a user who may do everything, in the default virtual host
  consumer-url, producer-url  of the pool's users with no more permissions than they need, and monitoring-url of one who may
                              only look (infra/rabbitmq/definitions.json), in virtual host primepool
Exit status: 2 usage, 3 the broker does not start or answer.
EOF
}

self=$PRIMEPOOL_ROOT/infra/local/broker.sh
user=primepool

# --- what is where in DIR ---------------------------------------------------------------------------------------------

# env    ports and node name, fixed for the life of the data (the node's name is part of the data)
# pid    process number of the server, for callers
# vm, epmd, watchdog   marks (see lib.sh) of the three processes

load_dir() {
	use_dir "$1"
	[[ -f $dir/env ]] || die 2 "no private broker in $dir"
	# shellcheck source=/dev/null
	. "$dir/env"
	own_epmd_port=${own_epmd_port:-$epmd_port} # of a broker made before there were clusters
	set_environment
}

# --- ports and processes --------------------------------------------------------------------------------------------------------

start_epmd() { # PORT → REPLY; fails when the port is not ours, which makes epmd the reservation of the whole block
	local port=$1 epmd tries=100
	detached "$dir/log/epmd" epmd -address 127.0.0.1 -port "$port"
	epmd=$REPLY
	while mark_alive "$epmd" && ((tries-- > 0)); do
		if listens "${epmd%% *}" "$port"; then
			printf '%s\n' "$epmd" >"$dir/epmd"
			return 0
		fi
		sleep 0.05
	done
	end_process "$epmd" 1
	return 1
}

pick_ports() {
	local block base offset epmd
	used_ports 06 # TIME_WAIT can be bound again
	for ((block = 0; block < PRIMEPOOL_PORT_BLOCKS; block++)); do
		base=$((PRIMEPOOL_PORT_BASE + block * PRIMEPOOL_PORT_STEP))
		for offset in "$PRIMEPOOL_PORT_AMQP" "$PRIMEPOOL_PORT_DIST" "$PRIMEPOOL_PORT_EPMD" "$PRIMEPOOL_PORT_MANAGEMENT" \
			"$PRIMEPOOL_PORT_TLS"; do
			[[ ! ${used[base + offset]-} ]] || continue 2
		done
		epmd=$((base + PRIMEPOOL_PORT_EPMD))
		start_epmd $epmd || continue
		amqp_port=$((base + PRIMEPOOL_PORT_AMQP))
		dist_port=$((base + PRIMEPOOL_PORT_DIST))
		# Nodes of a cluster find each other by one epmd. That of this block then keeps the block, nothing more.
		epmd_port=${epmd_port:-$epmd}
		return 0
	done
	return 1
}

# Nothing of the caller's environment gets in: a RABBITMQ_… variable of theirs could point at another broker.
set_environment() { # → environment
	local loopback="-kernel inet_dist_use_interface {127,0,0,1}"
	environment=(
		PATH="$PATH" LANG=C.UTF-8 HOME="$dir/home" # HOME: the cookie
		ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP_SECONDS=0
		RABBITMQ_NODENAME="$node" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$amqp_port"
		RABBITMQ_DIST_PORT="$dist_port"
		# Unbound schedulers: the kernel may move them away from a core that computes.
		RABBITMQ_SCHEDULER_BIND_TYPE=u
		RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$loopback +sbwt none +S $schedulers:$schedulers"
		# rabbitmqctl listens too; any port, or only eleven could run at a time. It need not start an epmd.
		RABBITMQ_CTL_ERL_ARGS="$loopback -start_epmd false" RABBITMQ_CTL_DIST_PORT_MIN=0 RABBITMQ_CTL_DIST_PORT_MAX=0
		RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$dir/none.config"
		RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins"
		RABBITMQ_MNESIA_BASE="$dir/data" RABBITMQ_MNESIA_DIR="$dir/data/node"
		RABBITMQ_FEATURE_FLAGS_FILE="$dir/data/feature_flags" RABBITMQ_PID_FILE="$dir/data/node.pid"
		RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_LOGS="$dir/log/broker.log"
		# The start script then becomes the Erlang VM instead of waiting beside it.
		RUNNING_UNDER_SYSTEMD=true
	)
}

write_config() { # NODES IN THE CLUSTER, IF THERE IS ONE
	{
		cat "$PRIMEPOOL_ROOT/infra/rabbitmq/primepool.conf" - <<EOF

# What is the private broker's own, made by broker.sh.
load_definitions = $dir/definitions.json
vm_memory_high_watermark.relative = 0.3
disk_free_limit.absolute = 64MB
log.console = false
log.file.level = info
EOF
		[[ ! $1 ]] || write_cluster "$1"
		[[ ! $management ]] || write_management
		[[ ! $tls ]] || write_tls
	} >"$dir/rabbitmq.conf"
}

# As infra/rabbitmq/cluster.conf has it; a node that joins looks for the first one.
write_cluster() { # NODES
	grep -E '^(cluster_formation\.peer_discovery_backend|cluster_partition_handling) ' "$PRIMEPOOL_ROOT/infra/rabbitmq/cluster.conf"
	printf 'cluster_formation.classic_config.nodes.1 = %s\n' "${first_node:-$node}"
	[[ ! $first_node ]] || printf 'cluster_formation.classic_config.nodes.2 = %s\n' "$node"
	printf 'cluster_formation.target_cluster_size_hint = %s\n' "$1"
}

write_management() {
	local port=$((amqp_port - PRIMEPOOL_PORT_AMQP + PRIMEPOOL_PORT_MANAGEMENT)) kind=tcp scheme=http
	[[ ! $tls ]] || kind=ssl scheme=https
	printf '%s\n' "management.$kind.ip = 127.0.0.1" "management.$kind.port = $port"
	printf '%s://127.0.0.1:%s\n' "$scheme" "$port" >"$dir/management-url"
}

# As infra/rabbitmq/tls.conf has it, but for the addresses, which are all on 127.0.0.1.
write_tls() {
	local port=$((amqp_port - PRIMEPOOL_PORT_AMQP + PRIMEPOOL_PORT_TLS)) edits=()
	printf '%s\n' "$port" >"$dir/tls-port"
	edits=(-e '/^listeners\.tcp\./d' -e "s|^\(listeners\.ssl\.[a-z]* =\).*|\1 127.0.0.1:$port|" -e "s| /etc/rabbitmq/| $tls/|")
	[[ ! $mutual ]] || edits+=(-e 's/^\(ssl_options\.fail_if_no_peer_cert =\).*/\1 true/')
	sed "${edits[@]}" "$PRIMEPOOL_ROOT/infra/rabbitmq/tls.conf" | tee "$dir/tls.conf"
	if [[ $mutual ]]; then
		printf '%s\n' 'auth_mechanisms.1 = PLAIN' 'auth_mechanisms.2 = EXTERNAL' 'ssl_cert_login_from = common_name'
	fi
	# The management API has the same options under a name of its own.
	[[ ! $management ]] || sed -n 's/^ssl_options\./management.ssl./p' "$dir/tls.conf"
}

# Writes the addresses, prints users and passwords. A node that joins a cluster takes the passwords of the first one.
write_users() {
	local name password file vhost
	for name in "$user" consumer producer monitoring; do
		file=$name-url vhost=primepool
		[[ $name != "$user" ]] || file=amqp-url vhost=/
		if [[ $joined ]]; then
			read -r password <"$joined/$file"
			password=${password#amqp://*:}
			password=${password%%@*}
		else
			password=$(random_hex 20)
		fi
		print_url "$name" "$password" "$vhost" >"$dir/$file"
		printf '%s %s\n' "$name" "$password"
	done
}

make_dir() {
	local leftover size=$first_of first_node='' users
	if [[ -d $dir ]]; then
		leftover=$(find "$dir" -mindepth 1 -maxdepth 1 -print -quit)
		[[ ! $leftover ]] || die 2 "$dir is not empty and holds no private broker: name another folder"
	fi
	umask 077
	mkdir -p -- "$dir" || die 3 "cannot make $dir"
	chmod 700 "$dir"
	fresh=yes
	mkdir -p "$dir/home" "$dir/data" "$dir/log"
	epmd_port=''
	if [[ $joined ]]; then
		[[ -f $joined/env ]] || die 2 "--join: no private broker in $joined"
		size=$(sed -n 's/^cluster_formation.target_cluster_size_hint = //p' "$joined/rabbitmq.conf")
		[[ $size ]] || die 2 "--join: the broker in $joined was not started with --first-of"
		first_node=$(sed -n 's/^node=//p' "$joined/env")
		epmd_port=$(sed -n 's/^epmd_port=//p' "$joined/env")
		cat "$joined/home/.erlang.cookie" >"$dir/home/.erlang.cookie"
	else
		random_hex 20 >"$dir/home/.erlang.cookie"
	fi
	chmod 400 "$dir/home/.erlang.cookie"
	local plugins=(${management:+rabbitmq_management} ${mutual:+rabbitmq_auth_mechanism_ssl})
	printf '[%s].\n' "$(IFS=, && printf %s "${plugins[*]-}")" >"$dir/enabled_plugins"
	pick_ports || die 3 "no free block of ports from $PRIMEPOOL_PORT_BASE on: set PRIMEPOOL_PORT_BASE to a free area"
	node=primepool$amqp_port@localhost
	users=$(write_users)
	"$PRIMEPOOL_ROOT/infra/rabbitmq/definitions.sh" --administrator "$user" <<<"$users" >"$dir/definitions.json"
	write_config "$size"
	# More than four schedulers bring nothing to one queue and cost memory; the compute threads need the cores.
	schedulers=$(nproc)
	((schedulers <= 4)) || schedulers=4
	cat >"$dir/env" <<EOF
amqp_port=$amqp_port
dist_port=$dist_port
epmd_port=$epmd_port
own_epmd_port=$((amqp_port - PRIMEPOOL_PORT_AMQP + PRIMEPOOL_PORT_EPMD))
node=$node
schedulers=$schedulers
EOF
}

take_ports_again() {
	read_mark "$dir/epmd"
	if ! mark_alive "$REPLY"; then
		end_stray_epmd
		start_epmd "$own_epmd_port" || die 3 "port $own_epmd_port of the broker in $dir is in use by another program"
	fi
	local port
	used_ports "01 02 03 04 05 06 07 08 09 0B 0C" # what listens; connections of the server before may linger
	for port in "$amqp_port" "$dist_port"; do
		[[ ! ${used[port]-} ]] || die 3 "port $port of the broker in $dir is in use by another program"
	done
}

start_failed() {
	local status=$?
	trap '' INT TERM HUP
	trap - EXIT
	stop_all
	[[ ! ${fresh-} ]] || rm -rf -- "$dir"
	exit "$status"
}

show_log() { # the first errors, which say more than the stack traces that follow them, and the end
	local log
	say "$1; from its logs:"
	for log in "$dir/log/epmd" "$dir/log/console" "$dir/log/broker.log"; do
		[[ -s $log ]] || continue
		{ grep -E '\[error\] <[0-9.]+> +[A-Za-z]' "$log" || true; } | head -n 8 >&2
		tail -n 4 "$log" | cut -c1-300 >&2
	done
}

start() {
	use_dir "${1-}"
	shift
	local watched='' remove='' vm
	management='' tls='' mutual='' first_of='' joined=''
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
		--management)
			management=yes
			shift
			;;
		--tls)
			[[ -r ${2-}/ca.pem && -r $2/head.pem && -r $2/head.key ]] ||
				die 2 "--tls: name a folder with ca.pem, head.pem and head.key (docs/OPERATIONS.md, TLS)"
			tls=$2
			[[ $tls == /* ]] || tls=$PWD/$tls
			shift 2
			;;
		--mutual)
			mutual=yes
			shift
			;;
		--first-of)
			[[ ${2-} =~ ^[1-9]$ ]] || die 2 "--first-of: give the number of nodes, 1 to 9"
			first_of=$2
			shift 2
			;;
		--join)
			[[ ${2-} ]] || die 2 "--join: name the folder of the first node"
			joined=$2
			[[ $joined == /* ]] || joined=$PWD/$joined
			shift 2
			;;
		*) die 2 "broker.sh start: unknown argument '$1'" ;;
		esac
	done
	[[ $watched || ! $remove ]] || die 2 "broker.sh start: --remove needs --watch-pid"
	[[ $tls || ! $mutual ]] || die 2 "broker.sh start: --mutual needs --tls"
	[[ ! $first_of || ! $joined ]] || die 2 "broker.sh start: --first-of and --join exclude each other"
	rabbitmq_sbin || die 3 "RabbitMQ is not installed: run infra/local/setup.sh"
	local sbin=$REPLY

	# shellcheck source=/dev/null
	[[ ! -f $dir/env ]] || . "$dir/env"
	own_epmd_port=${own_epmd_port:-${epmd_port-}}
	read_mark "$dir/vm"
	vm=$REPLY
	if mark_alive "$vm"; then
		[[ ! $watched ]] || watch_over "$watched" "$remove"
		return 0
	fi

	fresh=
	trap start_failed EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	umask 077
	if [[ -f $dir/env ]]; then take_ports_again; else make_dir; fi

	# A server started again is watched for the same process, if that still lives.
	if [[ ! $watched && -f $dir/watched ]]; then
		local pid since flag
		read -r pid since flag <"$dir/watched"
		mark_alive "$pid $since" && watched="$pid $since" remove=$flag
	fi

	# One log a start: what is shown on failure must not be from the start before.
	[[ ! -f $dir/log/broker.log ]] || mv -f "$dir/log/broker.log" "$dir/log/broker.log.before"
	: >"$dir/log/console"
	set_environment
	detached "$dir/log/console" env -i "${environment[@]}" "$sbin/rabbitmq-server"
	vm=$REPLY
	printf '%s\n' "$vm" >"$dir/vm"
	printf '%s\n' "${vm%% *}" >"$dir/pid"
	# The watchdog comes before the wait: whoever called may be killed during it.
	[[ ! $watched ]] || watch_over "$watched" "$remove"

	local tries=1200 # of 0.1 s
	until listens "${vm%% *}" "$amqp_port"; do
		if ! mark_alive "$vm"; then
			show_log "RabbitMQ did not start"
			exit 3
		fi
		if ((tries-- == 0)); then
			show_log "RabbitMQ was not ready after two minutes"
			exit 3
		fi
		sleep 0.1
	done
	if [[ $watched ]]; then
		read_mark "$dir/watchdog"
		mark_alive "$REPLY" || die 3 "the watchdog of the broker in $dir ended"
	fi
	trap - EXIT INT TERM HUP
}

watch_over() { # MARK REMOVE
	local watched=$1 remove=$2
	read_mark "$dir/watchdog"
	end_process "$REPLY" 1
	printf '%s %s\n' "$watched" "$remove" >"$dir/watched"
	detached /dev/null bash "$self" --watch "$dir" "$watched" "$remove"
	printf '%s\n' "$REPLY" >"$dir/watchdog"
}

watch() { # DIR MARK REMOVE
	use_dir "$1"
	local watched=$2 remove=$3 vm epmd pause
	read_mark "$dir/vm" && vm=$REPLY
	read_mark "$dir/epmd" && epmd=$REPLY
	exec {pause}<> <(:) # reading from it with a time limit sleeps without a process for each second
	while mark_alive "$watched"; do
		read -r -t 1 -u "$pause" || true
	done
	rm -f -- "$dir/watchdog"
	stop_processes "$vm" "$epmd" # as remembered: the folder may be gone by now
	forget_processes
	[[ ! $remove || ! -f $dir/env ]] || rm -rf -- "$dir"
}

stop_processes() { # VM EPMD; the VM's other helpers end with it
	end_process "$1" 20
	end_process "$2" 1
	end_stray_epmd
}

# Should epmd be ended by somebody else (an upgrade of Erlang does that), the VM starts another one, behind our back.
end_stray_epmd() {
	local process name
	for process in /proc/[0-9]*; do
		{ read -r name <"$process/comm"; } 2>/dev/null || continue
		[[ $name == epmd ]] || continue
		grep -qszxF "HOME=$dir/home" "$process/environ" || continue
		! mark_of "${process#/proc/}" || end_process "$REPLY" 1
	done
}

forget_processes() {
	rm -f -- "$dir/vm" "$dir/epmd" "$dir/watchdog" "$dir/watched" "$dir/pid"
}

stop_all() {
	local vm epmd
	read_mark "$dir/watchdog"
	end_process "$REPLY" 1
	read_mark "$dir/vm" && vm=$REPLY
	read_mark "$dir/epmd" && epmd=$REPLY
	stop_processes "$vm" "$epmd"
	forget_processes
}

stop() {
	use_dir "$1"
	[[ -f $dir/env ]] || return 0
	stop_all
}

# epmd stays: it keeps the ports for the next start, and a crash of the server would leave it too. So does the watchdog.
kill_server() {
	load_dir "$1"
	read_mark "$dir/vm"
	! mark_alive "$REPLY" || kill -KILL "${REPLY%% *}" 2>/dev/null || true
	wait_gone "$REPLY" 10 || die 3 "process ${REPLY%% *} cannot be killed"
	rm -f -- "$dir/vm" "$dir/pid"
}

# --- administration ---------------------------------------------------------------------------------------------------

need_running() {
	read_mark "$dir/vm"
	mark_alive "$REPLY" || die 3 "the broker in $dir does not run: start it with infra/local/broker.sh start $dir"
}

ctl() {
	need_running
	rabbitmq_sbin || die 3 "RabbitMQ is not installed: run infra/local/setup.sh"
	env -i "${environment[@]}" "$REPLY/rabbitmqctl" "$@"
}

# rabbitmqctl takes more than a second to load; erl_call, part of Erlang itself, takes milliseconds.
# The expression comes from standard input or a file, so that no password is on a command line.
evaluate() { # ERLANG, which has to return ok
	local answer
	need_running
	umask 077
	if command -v erl_call >/dev/null; then
		# Two calls at the same moment may take the same name for themselves; the server turns one away.
		local tries=50
		while
			answer=$(env -i "${environment[@]}" erl_call -r -sname "$node" -e <<<"$1" 2>&1) || true
			[[ $answer == *"failed to connect"* ]] && ((tries-- > 0))
		do
			sleep 0.1
		done
	else
		printf '%s\n' "$1" >"$dir/expression"
		answer=$(ctl eval_file "$dir/expression" 2>&1) || true # nothing else takes it
		rm -f -- "$dir/expression"
	fi
	[[ $answer == "{ok, ok}" || $answer == ok ]] || die 3 "the broker in $dir did not do it: ${answer:0:300}"
}

check_name() { # WHAT VALUE: these go into an expression and into URLs unquoted
	[[ $2 =~ ^[A-Za-z0-9._-]+$ ]] || die 2 "$1 '$2': only letters, digits, dot, dash and underscore"
}

check_pattern() {
	[[ $1 != *[\"\\]* ]] || die 2 "a permission pattern cannot have quotes or backslashes: $1"
}

print_url() { # USER PASSWORD VHOST
	printf 'amqp://%s:%s@127.0.0.1:%s/%s\n' "$1" "$2" "$amqp_port" "${3/#\//%2f}"
}

vhost() { # DIR NAME
	load_dir "$1"
	check_name "virtual host" "$2"
	evaluate "ok = rabbit_vhost:add(<<\"$2\">>, <<\"broker.sh\">>),
		ok = rabbit_auth_backend_internal:set_permissions(
			<<\"$user\">>, <<\"$2\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"broker.sh\">>)."
	local url
	read -r url <"$dir/amqp-url"
	printf '%s\n' "${url%/*}/$2"
}

add_user() { # DIR NAME VHOST CONFIGURE WRITE READ
	local name=$2 vhost=$3 configure=$4 write=$5 read=$6 password=''
	load_dir "$1"
	read -r password || true
	check_name user "$name"
	# Its text is not repeated.
	[[ $password =~ ^[A-Za-z0-9._-]+$ ]] ||
		die 2 "password: only letters, digits, dot, dash and underscore, on the first line of standard input"
	[[ $vhost == / ]] || check_name "virtual host" "$vhost"
	check_pattern "$configure"
	check_pattern "$write"
	check_pattern "$read"
	evaluate "case rabbit_auth_backend_internal:exists(<<\"$name\">>) of
			true -> ok = rabbit_auth_backend_internal:change_password(<<\"$name\">>, <<\"$password\">>, <<\"broker.sh\">>);
			false -> ok = rabbit_auth_backend_internal:add_user(<<\"$name\">>, <<\"$password\">>, <<\"broker.sh\">>)
		end,
		ok = rabbit_auth_backend_internal:set_permissions(
			<<\"$name\">>, <<\"$vhost\">>, <<\"$configure\">>, <<\"$write\">>, <<\"$read\">>, <<\"broker.sh\">>)."
	print_url "$name" "$password" "$vhost"
}

# ----------------------------------------------------------------------------------------------------------------------

verb=${1-}
(($# == 0)) || shift
case $verb:$# in
start:[1-9]*) start "$@" ;;
stop:1) stop "$@" ;;
kill:1) kill_server "$@" ;;
vhost:2) vhost "$@" ;;
user:6) add_user "$@" ;;
ctl:[1-9]*)
	load_dir "$1"
	shift
	ctl "$@"
	;;
--watch:3) watch "$@" ;;
help:* | --help:* | -h:*) usage ;;
*)
	usage >&2
	exit 2
	;;
esac
