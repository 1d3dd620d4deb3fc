#!/usr/bin/env bash
# One run on this machine, from nothing to results: packages, build, a private broker, consumers, the producer, clean-up.
#   run.sh [PRODUCER ARGUMENT…]       default: --count 100 --bits 1024
# Variables:
#   CONSUMERS     consumer processes (1)
#   CONCURRENCY   compute threads of each (the cores of this process, shared among the consumers)
#   RESUME        a run to go on with, in place of a new one
#   METRICS       on: to a private InfluxDB whose data stays in the run's folder, or to that of INFLUX_HOST if it is set (on);
#                 off: to the run's metrics.lp alone
#   PRIMEPOOL_BIN folder of binaries to use; without it they are built
# The exit status is the producer's.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
here=$PRIMEPOOL_ROOT/infra/local

consumers=${CONSUMERS:-1}
[[ $consumers =~ ^[1-9][0-9]{0,2}$ ]] || die 2 "CONSUMERS is '$consumers': give a number from 1 to 999"
# nproc would take OpenMP's limits, if set, for the number of cores.
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
concurrency=${CONCURRENCY:-$((cores < consumers ? 1 : cores / consumers))}
[[ $concurrency =~ ^[1-9][0-9]{0,3}$ ]] || die 2 "CONCURRENCY is '$concurrency': give a number from 1 to 9999"
resume=${RESUME-}
metrics=${METRICS:-on}
[[ $metrics == on || $metrics == off ]] || die 2 "METRICS is '$metrics': give on or off"
# Not for the processes below: the last three would set flags of theirs.
unset ARGS CONSUMERS CONCURRENCY RESUME METRICS PRIMEPOOL_AMQP_URL PRIMEPOOL_AMQP_URL_FILE PRIMEPOOL_HEALTH_FILE

runs_dir=$PRIMEPOOL_RUNS_DIR
republish=--republish
before=''
for argument; do
	case $argument in
	--detach)
		die 2 "--detach needs a broker that stays; the one of this script ends with it. Start one with infra/local/broker.sh"
		;;
	--influx-* | --metrics-spool*)
		die 2 "${argument%%=*} would reach the producer only: set INFLUX_HOST, INFLUX_TOKEN and INFLUX_BUCKET instead, for the consumers too"
		;;
	--runs-dir=*) runs_dir=${argument#*=} ;;
	*) [[ $before != --runs-dir ]] || runs_dir=$argument ;;
	esac
	before=$argument
done
if [[ ${1-} == resume && ${2-} && ! $resume ]]; then # as the producer has it
	resume=$2
	shift 2
	[[ " $* " != *" --republish "* ]] || republish=''
fi
if [[ $resume ]]; then
	set -- resume "$resume" $republish "$@" # the broker that knew the run is gone
elif (($# == 0)); then
	set -- --count 100 --bits 1024
fi

work=$PRIMEPOOL_STATE/run-$$
marks=() # of the consumers
watcher=''
influx='' # folder of the private InfluxDB

# shellcheck disable=SC2317 # called through attend_signals
clean_up() { # STATUS
	local mark grace=10 keep_logs=''
	[[ ! $watcher ]] || kill "$watcher" 2>/dev/null
	# Nobody waits for the results of an interrupted run, and the next one starts with a broker of its own.
	[[ ! $signalled ]] || grace=3
	end_process "$child_mark" 5
	for mark in ${marks[@]+"${marks[@]}"}; do
		kill -TERM "${mark%% *}" 2>/dev/null || true
	done
	for mark in ${marks[@]+"${marks[@]}"}; do
		wait_gone "$mark" "$grace" || end_process "$mark" 0
	done
	"$here/broker.sh" stop "$work/broker"
	rm -rf -- "$work/broker"
	[[ ! $influx ]] || keep_metrics
	[[ ! -e $work/trouble ]] || keep_logs=yes
	case $1 in 0 | 2 | 129 | 130 | 143) ;; *) keep_logs=yes ;; esac
	if [[ $keep_logs ]] && compgen -G "$work/consumer-*.log" >/dev/null; then
		local logs
		logs=$PRIMEPOOL_STATE/logs/$(date +%Y%m%d-%H%M%S)-$$
		mkdir -p "$logs"
		mv -- "$work"/consumer-*.log "$logs"
		say "logs of the consumers: $logs"
	fi
	rm -rf -- "$work"
}

# Folders of runs that were killed with -9: their processes have ended by themselves, see --pdeathsig and --watch-pid.
sweep() {
	local old
	for old in "$PRIMEPOOL_STATE"/run-*; do
		read_mark "$old/owner"
		[[ $REPLY ]] || continue
		! mark_alive "$REPLY" || continue
		"$here/broker.sh" stop "$old/broker"
		"$here/influx.sh" stop "$old/influxdb"
		rm -rf -- "$old"
	done
}

build() {
	if [[ ${PRIMEPOOL_BIN-} ]]; then
		bin=$PRIMEPOOL_BIN
		[[ -x $bin/producer && -x $bin/consumer ]] || die 2 "PRIMEPOOL_BIN: no producer and consumer in $bin"
		return 0
	fi
	bin=$PRIMEPOOL_RELEASE
	ensure_cargo_on_path
	[[ -x $bin/consumer ]] || say "building; the first time it takes some minutes, most of them for GMP"
	attend TERM cargo build --release --bins || die 1 "the build failed: see above"
}

# The producer reads its arguments before it looks for a broker: what is wrong with them shows before one is started.
rehearse() {
	local status=0 output
	output=$(PRIMEPOOL_AMQP_URL=amqp://127.0.0.1:1 "$bin/producer" "$@" 2>&1) || status=$?
	case $status in
	0) printf '%s\n' "$output" && exit 0 ;; # --help
	2) printf '%s\n' "$output" >&2 && exit 2 ;;
	esac
}

start_influx() {
	local watch=(--watch-pid $$)
	if [[ $metrics == off ]]; then
		unset INFLUX_HOST
		return 0
	fi
	[[ $own_influx ]] || return 0 # the user's own
	if ! find_influxd >/dev/null; then
		say "there is no InfluxDB 1.x on this machine: the metrics are in the run's metrics.lp alone"
		return 0
	fi
	if [[ $resume && -d $runs_dir/$resume/influxdb ]]; then
		influx=$runs_dir/$resume/influxdb # goes on with its data
	else
		influx=$work/influxdb
		watch+=(--remove)
	fi
	attend TERM "$here/influx.sh" start "$influx" "${watch[@]}" || exit $?
	INFLUX_HOST=$(<"$influx/influx-url")
	INFLUX_TOKEN=$(<"$influx/influx-token")
	INFLUX_BUCKET=primepool
	PRIMEPOOL_METRICS_SPOOL=$work/metrics-spool
	PRIMEPOOL_METRICS_INTERVAL=${PRIMEPOOL_METRICS_INTERVAL:-500ms} # runs here are short
	export INFLUX_HOST INFLUX_TOKEN INFLUX_BUCKET PRIMEPOOL_METRICS_SPOOL PRIMEPOOL_METRICS_INTERVAL
	unset INFLUX_TOKEN_FILE INFLUX_ORG
}

# Stops the private InfluxDB and puts its data into the run's folder.
# shellcheck disable=SC2317 # called through attend_signals
keep_metrics() {
	local run kept
	# It knows this run only.
	run=$("$here/influx.sh" query "$influx" primepool 'SHOW TAG VALUES FROM "run" WITH KEY = "run"' 2>/dev/null |
		sed -n 's/.*\["run","\([A-Za-z0-9._-]*\)"\].*/\1/p')
	"$here/influx.sh" stop "$influx"
	[[ $influx == "$work"/* ]] || return 0 # it is there already
	if [[ $run && -d $influx/data ]]; then
		kept=$runs_dir/$run/influxdb
		if [[ -d $runs_dir/$run && ! -e $kept ]] && mv -- "$influx" "$kept"; then
			kept=${kept#"$PRIMEPOOL_ROOT"/}
			say "metrics: $kept; look at them with: infra/local/influx.sh start $kept"
		else
			say "could not put the metrics into $kept: those of this run are lost but for the summary"
		fi
	fi
	rm -rf -- "$influx"
}

start_consumers() {
	local i log
	for ((i = 1; i <= consumers; i++)); do
		log=$work/consumer-$i.log
		# With no more rights than a consumer needs. By the environment: a command line can be read by every user of the machine.
		# A session of its own keeps the terminal's Ctrl-C away: the producer ends first. --pdeathsig: should this script
		# be killed, they end too.
		PRIMEPOOL_AMQP_URL=$(<"$work/broker/consumer-url") setsid setpriv --pdeathsig KILL "$bin/consumer" --concurrency "$concurrency" --node "local-$i" \
			--health-file "$work/consumer-$i.health" </dev/null >"$log" 2>&1 &
		mark_of $! || die 1 "consumer $i ended at once: $(tail -n 5 "$log")"
		marks+=("$REPLY")
	done
	local deadline=$((SECONDS + 30))
	for ((i = 1; i <= consumers; i++)); do
		until "$bin/consumer" health --health-file "$work/consumer-$i.health" >/dev/null 2>&1; do
			if ! mark_alive "${marks[i - 1]}"; then
				consumer_trouble "$i" "ended before it was ready"
				exit 1
			elif ((SECONDS >= deadline)); then
				consumer_trouble "$i" "is not ready after 30 s"
				exit 1
			fi
			sleep 0.1
		done
	done
}

consumer_trouble() { # NUMBER WHAT
	: >"$work/trouble"
	say "consumer $1 $2; the end of its log:"
	tail -n 10 "$work/consumer-$1.log" >&2 || true
}

# Tells when a consumer ends, and ends the producer when none is left: it would wait for ever.
watch_consumers() {
	local i producer=$child_mark living=("${!marks[@]}") still
	while mark_alive "$producer" && ((${#living[@]})); do
		sleep 1
		still=()
		for i in "${living[@]}"; do
			if mark_alive "${marks[i]}"; then
				still+=("$i")
			else
				consumer_trouble $((i + 1)) "ended unexpectedly"
			fi
		done
		living=(${still[@]+"${still[@]}"})
	done
	if ((${#living[@]} == 0)) && mark_alive "$producer"; then
		: >"$work/no-consumer"
		say "no consumer is left: ending the producer"
		kill -INT "${producer%% *}"
	fi
}

produce() {
	local status=0
	start_child INT setpriv --pdeathsig INT "$bin/producer" "$@"
	watch_consumers </dev/null &
	watcher=$!
	await_child || status=$?
	kill "$watcher" 2>/dev/null || true
	watcher=''
	[[ ! -e $work/no-consumer ]] || status=1
	return "$status"
}

# ----------------------------------------------------------------------------------------------------------------------

cd "$PRIMEPOOL_ROOT"
attend_signals clean_up
own_influx=yes
[[ $metrics == on && ! ${INFLUX_HOST-} ]] || own_influx=''
attend TERM "$here/setup.sh" ${own_influx:+--metrics} || exit $?
build
rehearse "$@"
sweep
mkdir -p "$PRIMEPOOL_STATE"
mkdir -m 700 "$work"
mark_of $$ && printf '%s\n' "$REPLY" >"$work/owner"

began=$SECONDS
say "starting a private RabbitMQ${own_influx:+, a private InfluxDB} and $consumers consumer(s) with $concurrency compute thread(s) each"
attend TERM "$here/broker.sh" start "$work/broker" --watch-pid $$ --remove || exit $?
PRIMEPOOL_AMQP_URL=$(<"$work/broker/producer-url")
export PRIMEPOOL_AMQP_URL PRIMEPOOL_RESUME_COMMAND="make run RESUME={run}"
start_influx
start_consumers
say "ready after $((SECONDS - began)) s"

status=0
produce "$@" || status=$?

[[ ! $signalled || $signalled == 130 ]] || status=$signalled
exit "$status"
