#!/usr/bin/env bash
# Three private RabbitMQ nodes that form a cluster, each a private broker of broker.sh.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
broker=$PRIMEPOOL_ROOT/infra/local/broker.sh

usage() {
	cat <<'EOF'
usage: cluster.sh start DIR [--watch-pid PID [--remove]]
           start three nodes with their data in DIR/1, DIR/2 and DIR/3, or again on the same data; returns when all are one cluster;
           the options are those of broker.sh
       cluster.sh stop DIR       stop them; keeps the data
One of them: infra/local/broker.sh kill DIR/2, start DIR/2, ctl DIR/2 …; its addresses are in DIR/2 (amqp-url and others), with the
same users and passwords for all.
Exit status: 2 usage, 3 a node does not start or does not join.
EOF
}

start() { # DIR OPTIONS…
	use_dir "$1"
	shift
	local node tries=600 # of 0.1 s
	# One after another: each finds those before it.
	"$broker" start "$dir/1" --first-of 3 "$@"
	for node in 2 3; do
		"$broker" start "$dir/$node" --join "$dir/1" "$@"
	done
	until [[ $("$broker" ctl "$dir/1" eval 'length(rabbit_nodes:all_running()).' 2>/dev/null) == 3 ]]; do
		((tries-- > 0)) || die 3 "the three nodes in $dir did not become a cluster: see $dir/*/log/broker.log"
		sleep 0.1
	done
}

stop() { # DIR
	use_dir "$1"
	local node
	# The first one's epmd serves all.
	for node in 3 2 1; do
		[[ ! -d $dir/$node ]] || "$broker" stop "$dir/$node"
	done
}

verb=${1-}
(($# == 0)) || shift
case $verb:$# in
start:[1-9]*) start "$@" ;;
stop:1) stop "$@" ;;
help:* | --help:* | -h:*) usage ;;
*)
	usage >&2
	exit 2
	;;
esac
