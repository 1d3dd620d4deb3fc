# Short names for the scripts in infra/local; each script says at its top what it does.

CONSUMERS ?= 1
CONCURRENCY ?=
RESUME ?=
METRICS ?=
export CONSUMERS CONCURRENCY RESUME METRICS

.DEFAULT_GOAL := help
.PHONY: help run test check dashboards bench bench-pool experiment compare clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo 'Variables of run: ARGS="--count 1000 --bits 512" CONSUMERS=2 CONCURRENCY=1 RESUME=run METRICS=off'

run: ## find primes: private broker, consumers, one producer, then everything stops
	@infra/local/run.sh $(ARGS)

test: ## every test, on a private broker
	@infra/local/test.sh $(ARGS)

check: ## formatting, lints, licences and sources of dependencies
	@infra/local/check.sh

dashboards: ## write Grafana's dashboards and alert rules from the code in grafana/
	@infra/local/dashboards.sh

bench: ## primes per second on one core, beside gmpy2, GMP and OpenSSL: table and plot
	@infra/local/bench.sh

bench-pool: ## the pool beside a bare loop of the engine, and the broker alone
	@infra/local/bench-pool.sh

experiment: ## how the pool scales: a sweep of five minutes on a private broker, and its report
	@infra/local/experiment.sh $(ARGS)

compare: ## beside Ray, Celery and Dask: the same work on the same cores, table and plot, six minutes
	@infra/local/compare.sh $(ARGS)

clean: ## delete what was built and the state of private brokers; results in runs/ stay
	@infra/local/clean.sh
