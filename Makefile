# Short names for the scripts in infra/; each script says at its top what it does.

CONSUMERS ?= 1
CONCURRENCY ?=
RESUME ?=
METRICS ?=
DASHBOARD ?=
export CONSUMERS CONCURRENCY RESUME METRICS DASHBOARD

.DEFAULT_GOAL := help
.PHONY: help run install up down logs test test-all test-compose check dashboards bench bench-factor tune-factor bench-spread bench-pool bench-broker experiment compare chaos fuzz clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo 'Variables of run: ARGS="--count 1000 --bits 512" CONSUMERS=2 CONCURRENCY=1 RESUME=run METRICS=off DASHBOARD=on'

run: ## find primes: private broker, consumers, one producer, then everything stops
	@infra/local/run.sh $(ARGS)

install: ## programs, man pages and completions into PREFIX (/usr/local)
	@infra/local/install.sh $(PREFIX)

up: ## a pool in containers (docker compose): passwords, image, everything started, a first run
	@infra/compose/compose.sh up $(ARGS)

down: ## stop and remove these containers; their data stays
	@infra/compose/compose.sh down

logs: ## follow their logs
	@infra/compose/compose.sh logs $(ARGS)

test: ## what a change can break, on real servers: ARGS are those of cargo test
	@infra/local/test.sh $(ARGS)

test-all: ## the same and what is long by nature: chaos, containers, other pools, large sieves, large counts
	@infra/local/test.sh --all $(ARGS)

test-compose: ## the pool in containers, on a private Docker engine: needs root and some minutes
	@infra/local/test.sh --compose

check: ## formatting, lints, licences and sources of dependencies
	@infra/local/check.sh

dashboards: ## write Grafana's dashboards and alert rules from the code in grafana/
	@infra/local/dashboards.sh

bench: ## primes per second on one core, beside gmpy2, GMP, OpenSSL and crypto-primes: table and plot
	@infra/local/bench.sh primes

bench-factor: ## time to factor on one core, beside PARI's gp and GMP-ECM: tables, half an hour
	@infra/local/bench.sh factor

tune-factor: ## what each parameter of the quadratic sieve is worth on this machine: tables
	@infra/local/bench.sh tune

bench-spread: ## one hard number on several workers, beside one: table, some 20 minutes
	@infra/local/bench.sh spread

bench-pool: ## the pool beside a bare loop of the engine, and the broker alone
	@infra/local/bench.sh pool

bench-broker: ## what units and consumers cost the broker: with up to 1000 consumer processes
	@infra/local/bench.sh broker

experiment: ## how the pool scales: a sweep of five minutes on a private broker, and its report
	@infra/local/experiment.sh run $(ARGS)

compare: ## beside Ray, Celery and Dask: the same work on the same cores, table and plot, six minutes
	@infra/local/experiment.sh compare $(ARGS)

chaos: ## kill, freeze, cut and fill everything there is during runs, and check what is left: some 10 minutes
	@infra/local/chaos.sh $(ARGS)

fuzz: ## look for input that breaks what reads messages, files and command lines: a minute for each of 16 targets
	@infra/local/fuzz.sh $(ARGS)

clean: ## delete what was built and the state of private brokers; results in runs/ stay
	@infra/local/clean.sh
