# shellcheck shell=bash disable=SC2034
# The one place that names the folders and ports of the private servers. Sourced, never run.
# Each value can be overridden by the environment variable of the same name.

PRIMEPOOL_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)

# State of private servers: data, logs, credentials of running brokers. Safe to delete when nothing runs.
PRIMEPOOL_STATE=${PRIMEPOOL_STATE:-$PRIMEPOOL_ROOT/.primepool}
[[ $PRIMEPOOL_STATE == /* ]] || PRIMEPOOL_STATE=$PWD/$PRIMEPOOL_STATE

# Results that a user keeps: written by the producer, one folder a run, never deleted by these scripts.
PRIMEPOOL_RUNS_DIR=${PRIMEPOOL_RUNS_DIR:-$PRIMEPOOL_ROOT/runs}

# Developer tools that have to be compiled. Outside the repository, so that a fresh clone does not compile them again.
PRIMEPOOL_TOOLS=${PRIMEPOOL_TOOLS:-${XDG_CACHE_HOME:-${HOME:-$PRIMEPOOL_STATE}/.cache}/primepool/tools}

# Where the built binaries are. Set PRIMEPOOL_BIN to use binaries that were built elsewhere: nothing is built then.
PRIMEPOOL_RELEASE=${CARGO_TARGET_DIR:-$PRIMEPOOL_ROOT/target}/release

# Ports, all on 127.0.0.1. Each private server takes the first block of ten in which its own are free, so that several live
# side by side. Below Linux's range for outgoing connections (32768 to 60999) and clear of a system RabbitMQ (4369, 5672,
# 15672, 25672) and a system InfluxDB (8086, 8088).
PRIMEPOOL_PORT_BASE=${PRIMEPOOL_PORT_BASE:-24672}
PRIMEPOOL_PORT_STEP=10
PRIMEPOOL_PORT_BLOCKS=80
# Offsets inside a block.
PRIMEPOOL_PORT_AMQP=0
PRIMEPOOL_PORT_DIST=1
PRIMEPOOL_PORT_EPMD=2
PRIMEPOOL_PORT_INFLUX=3
PRIMEPOOL_PORT_INFLUX_BACKUP=4
PRIMEPOOL_PORT_MANAGEMENT=5
PRIMEPOOL_PORT_TLS=6

# Versions of developer tools.
PRIMEPOOL_CARGO_DENY_VERSION=0.20.2
PRIMEPOOL_CARGO_DENY=$PRIMEPOOL_TOOLS/cargo-deny-$PRIMEPOOL_CARGO_DENY_VERSION

# A Python with the published types of Kubernetes and KEDA: infra/kubernetes/requirements.txt.
PRIMEPOOL_KUBERNETES_TYPES=$PRIMEPOOL_TOOLS/kubernetes-types-1.32.1.3

# Docker's client of private engines: its configuration, and what it has of Compose and Buildx beyond the system's.
PRIMEPOOL_DOCKER_CONFIG=$PRIMEPOOL_TOOLS/docker
