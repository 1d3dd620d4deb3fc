#!/usr/bin/env bash
# What units and consumers cost the broker; see tests/benches/broker.rs.
# Variables: CONSUMERS (1,10,100,200,500,1000), how many there are in turn: each is a process of its own; empty: only the cost of a
# unit is measured; ROUNDS (3), how often that is.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# Two connections a consumer, and a file for each at the broker.
ulimit -n "$(ulimit -Hn)"
bench_on_loopback broker
