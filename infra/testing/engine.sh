#!/usr/bin/env bash
# A private Docker engine in namespaces of its own: it has its own network (bridges, firewall rules, ports), mounts and processes, so
# that it cannot meet an engine of the system, and the kernel removes all of it when the engine ends, however that ends.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/lib.sh"

usage() {
	cat <<'EOF'
usage: engine.sh start DIR [--watch-pid PID [--remove]]
           start an engine with its data in DIR, or again on the same data; it is at unix://DIR/docker.sock;
           with --watch-pid it is stopped when process PID ends, however that ends; --remove then deletes DIR too
       engine.sh stop DIR            stop it and its containers; keeps the data: images, volumes, stopped containers
       engine.sh kill DIR            kill -9 the engine with all its containers, for tests of faults; keeps the data
       engine.sh remove DIR          stop it and delete DIR
       engine.sh run DIR COMMAND…    run a command with docker set to this engine, in the engine's network: ports that
                                     containers publish on 127.0.0.1 are there, and not on this machine's 127.0.0.1
Needs root. DIR holds docker.sock and pid while the engine runs, and its log. Exit status: 2 usage, 3 the engine does not start.
EOF
}

self=$PRIMEPOOL_ROOT/infra/testing/engine.sh
dir='' # set by use_dir

# What is where in DIR:
# data      images, containers, volumes
# keeper    mark (see lib.sh) of the process that stands for the engine outside: it starts the rest and cleans up
# init      mark of the first process in the engine's namespaces; pid has its number, for callers
# cgroup    name of the control group of the containers
# watched   mark of the process that the engine ends with, and whether its data is deleted then
# log/      of the engine, and of its network

need_root() { ((EUID == 0)) || die 2 "a Docker engine needs root: run this with sudo"; }

# --- outside of the namespaces ----------------------------------------------------------------------------------------

start() {
	use_dir "${1-}"
	shift
	local watched='' remove=''
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
		*) die 2 "engine.sh start: unknown argument '$1'" ;;
		esac
	done
	[[ $watched || ! $remove ]] || die 2 "engine.sh start: --remove needs --watch-pid"
	need_root
	local program
	for program in dockerd docker slirp4netns iptables ip unshare nsenter; do
		command -v "$program" >/dev/null || die 3 "$program is not installed: run infra/local/setup.sh --docker"
	done
	[[ -e /dev/net/tun ]] || die 3 "there is no /dev/net/tun, which the network of a private engine needs: try modprobe tun"
	# A socket's address has room for 107 bytes.
	((${#dir} <= 90)) || die 2 "the path $dir is too long for a socket: name a folder nearer to the root"

	local keeper
	read_mark "$dir/keeper"
	keeper=$REPLY
	read_mark "$dir/init"
	if mark_alive "$keeper" && mark_alive "$REPLY"; then
		[[ ! $watched ]] || watch_over "$watched" "$remove"
		await_engine "$keeper" # which may be about to end
		return 0
	fi
	end_process "$keeper" 60 # clears up after an engine that ended
	fresh=''
	if [[ ! -d $dir/data ]]; then
		[[ ! -d $dir || ! $(find "$dir" -mindepth 1 -maxdepth 1 -print -quit) ]] ||
			die 2 "$dir is not empty and holds no private engine: name another folder"
		fresh=yes
	fi
	umask 077
	mkdir -p -- "$dir/data" "$dir/log" || die 3 "cannot make $dir"
	clear_up # after one that was killed
	[[ ! $watched ]] || watch_over "$watched" "$remove"

	trap start_failed EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	# One log a start: what is shown on failure must not be from the start before.
	: >"$dir/log/engine"
	: >"$dir/log/network"
	detached "$dir/log/engine" bash "$self" --keep "$dir"
	keeper=$REPLY
	printf '%s\n' "$keeper" >"$dir/keeper"
	await_engine "$keeper"
	trap - EXIT INT TERM HUP
}

await_engine() { # KEEPER
	local tries=600 # of 0.1 s
	until timeout 5 docker -H "unix://$dir/docker.sock" info >/dev/null 2>&1; do
		if ! mark_alive "$1"; then
			show_log "the Docker engine did not start"
			exit 3
		fi
		if ((tries-- == 0)); then
			show_log "the Docker engine was not ready after a minute"
			exit 3
		fi
		sleep 0.1
	done
}

watch_over() { # MARK REMOVE
	printf '%s %s\n' "$1" "$2" >"$dir/watched.new"
	mv -f -- "$dir/watched.new" "$dir/watched" # at once: the keeper reads it
}

show_log() {
	say "$1; from its log, $dir/log/engine:"
	{ grep -E 'level=(error|fatal)|failed|cannot' "$dir/log/engine" || tail -n 8 "$dir/log/engine"; } | tail -n 8 | cut -c1-400 >&2
	tail -n 3 "$dir/log/network" >&2
}

start_failed() {
	local status=$?
	trap '' INT TERM HUP
	trap - EXIT
	stop_all
	[[ ! $fresh ]] || rm -rf -- "$dir"
	exit "$status"
}

# Stands for the engine. Should it be killed, everything else is killed by the kernel (--pdeathsig, --kill-child).
keep() { # DIR
	use_dir "$1"
	local unshare init slirp='' pause cgroup=primepool-engine-$$ stopping='' orphaned='' pid since remove
	trap 'stopping=yes' TERM INT HUP
	printf '%s\n' "$cgroup" >"$dir/cgroup"
	# Mounts of this machine get in (slave), those of the engine not out.
	setpriv --pdeathsig KILL unshare --mount --propagation slave --net --ipc --uts --pid --fork --kill-child \
		bash "$self" --init "$dir" "$cgroup" &
	mark_of $! && unshare=$REPLY || unshare=''
	while [[ ! -s $dir/init ]] && mark_alive "$unshare"; do
		sleep 0.02 || true
	done
	read_mark "$dir/init"
	init=$REPLY
	if mark_alive "$init"; then
		# A network stack in a process: no rule, no route and no setting of this machine is changed.
		setpriv --pdeathsig KILL slirp4netns --configure --mtu=65520 "${init%% *}" tap0 >>"$dir/log/network" 2>&1 &
		mark_of $! && slirp=$REPLY
	fi
	exec {pause}<> <(:) # reading from it with a time limit sleeps without a process for each second
	while mark_alive "$unshare" && [[ ! $stopping && ! $orphaned && -d $dir ]]; do
		if [[ -f $dir/watched ]]; then
			read -r pid since remove <"$dir/watched"
			mark_alive "$pid $since" || orphaned=yes
		fi
		read -r -t 1 -u "$pause" || true
	done
	trap '' TERM INT HUP
	end_process "$init" 45
	end_process "$unshare" 5
	end_process "$slirp" 1
	remove_cgroups "$cgroup"
	[[ -d $dir/data ]] || return 0 # deleted under us
	forget
	[[ ! $orphaned || $remove != remove ]] || rm -rf -- "$dir"
}

forget() { rm -f -- "$dir"/{keeper,init,pid,cgroup,watched,docker.sock}; }

# Control groups belong to no namespace. All that is left of containers are empty ones.
remove_cgroups() { # NAME
	[[ $1 == primepool-engine-[0-9]* ]] || return 0
	local tries=50 groups
	while
		mapfile -t groups < <(find /sys/fs/cgroup -maxdepth 2 -type d -name "$1" 2>/dev/null)
		((${#groups[@]} && tries-- > 0))
	do
		# Until the last process is gone they cannot be removed.
		find "${groups[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
	done
}

clear_up() {
	read_mark "$dir/cgroup"
	remove_cgroups "$REPLY"
	forget
}

stop_all() {
	local init
	read_mark "$dir/init"
	init=$REPLY
	read_mark "$dir/keeper"
	end_process "$REPLY" 60
	wait_gone "$init" 10 || say "process ${init%% *} of the engine in $dir is still there"
	clear_up
}

stop() {
	use_dir "$1"
	[[ -d $dir/data ]] || return 0
	need_root
	stop_all
}

kill_engine() {
	use_dir "$1"
	need_root
	[[ -d $dir/data ]] || die 2 "no private engine in $dir"
	read_mark "$dir/init"
	! mark_alive "$REPLY" || kill -KILL "${REPLY%% *}" 2>/dev/null || true
	read_mark "$dir/keeper"
	wait_gone "$REPLY" 20 || die 3 "the engine in $dir cannot be killed"
}

run_in() { # DIR COMMAND…
	use_dir "$1"
	shift
	need_root
	read_mark "$dir/init"
	mark_alive "$REPLY" || die 3 "the engine in $dir does not run: start it with infra/testing/engine.sh start $dir"
	unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
	export DOCKER_HOST=unix://$dir/docker.sock DOCKER_CONFIG=$PRIMEPOOL_DOCKER_CONFIG
	exec nsenter --net="/proc/${REPLY%% *}/ns/net" -- "$@"
}

# --- inside of the namespaces -----------------------------------------------------------------------------------------

init() { # DIR CGROUP
	use_dir "$1"
	local cgroup=$2 engine='' scratch=$dir/data/.private tries=200 stat
	trap '[[ ! $engine ]] || kill -TERM "$engine" 2>/dev/null || true' TERM
	trap '' INT HUP
	# /proc is still that of the machine, and has our number there.
	read -r stat </proc/self/stat
	mark_of "${stat%% *}"
	printf '%s\n' "${REPLY%% *}" >"$dir/pid"
	printf '%s\n' "$REPLY" >"$dir/init.new"
	mv -f -- "$dir/init.new" "$dir/init"
	mount -t proc proc /proc
	# What the engine and its helpers write to /run and /etc goes to memory.
	mkdir -p "$scratch"
	mount -t tmpfs -o mode=700 tmpfs "$scratch"
	mkdir "$scratch"/{etc,work}
	chmod 755 "$scratch/etc"
	mount -t overlay -o "lowerdir=/etc,upperdir=$scratch/etc,workdir=$scratch/work" overlay /etc
	umask 022
	rm -f /etc/resolv.conf                       # may be a link into /run
	echo 'nameserver 10.0.2.3' >/etc/resolv.conf # slirp4netns, which asks whom this machine asks
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -p /run/lock /etc/docker
	echo '{}' >/etc/docker/primepool.json
	ip link set lo up
	until [[ $(ip -4 route show default) ]]; do
		((tries-- > 0)) || die 3 "the network did not come up: see $dir/log/network"
		sleep 0.05
	done
	env -i PATH="$PATH:/usr/sbin:/sbin" HOME=/run LANG=C.UTF-8 dockerd --config-file /etc/docker/primepool.json \
		--data-root "$dir/data" --exec-root /run/docker --pidfile /run/docker.pid --host "unix://$dir/docker.sock" \
		--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$cgroup" --shutdown-timeout 30 &
	engine=$!
	# As the first process this one also reaps what has lost its parent. A signal cuts a wait short. At our end the kernel
	# ends all others here.
	while kill -0 "$engine" 2>/dev/null; do
		wait "$engine" || true
	done
}

# ----------------------------------------------------------------------------------------------------------------------

verb=${1-}
(($# == 0)) || shift
case $verb:$# in
start:[1-9]*) start "$@" ;;
stop:1) stop "$@" ;;
kill:1) kill_engine "$@" ;;
remove:1)
	stop "$@"
	[[ ! -d $dir/data ]] || rm -rf -- "$dir"
	;;
run:[2-9]* | run:1[0-9]*) run_in "$@" ;;
--keep:1) keep "$@" ;;
--init:2) init "$@" ;;
help:* | --help:* | -h:*) usage ;;
*)
	usage >&2
	exit 2
	;;
esac
