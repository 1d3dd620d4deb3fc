#!/usr/bin/env bash
# Starts and stops the pool of docker-compose.yml.
#   compose.sh up [SERVICE…]      make the passwords and the image, start these services (default:
#                                 all) and what they need, follow the producer's run, and print the
#                                 addresses
#   compose.sh down               stop and remove the containers; volumes stay
#   compose.sh logs [SERVICE…]    follow the logs
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/lib.sh"
cd "$PRIMEPOOL_ROOT"

# Compose cannot read the file without this variable, even for commands that need no secrets.
grep -qs '^PRIMEPOOL_SECRETS=' .env || export PRIMEPOOL_SECRETS=${PRIMEPOOL_SECRETS:-./infra/compose/secrets}

PORT_TAKEN="Is a port taken? PRIMEPOOL_AMQP_PORT and others in docker-compose.yml choose another"

need_compose() {
	command -v docker >/dev/null ||
		die 2 "docker is missing: install Docker (docs.docker.com/engine/install, or Debian's docker.io) with its Compose plugin"
	docker compose version >/dev/null 2>&1 ||
		die 2 "docker has no Compose 2: install docker-compose-plugin (Debian 13 and Ubuntu: docker-compose, docker-compose-v2)"
	docker info >/dev/null 2>&1 ||
		die 3 "the Docker engine does not answer: start it (systemctl start docker), or join the group docker and log in again"
}

address() { # SERVICE PORT → REPLY
	REPLY=$(docker compose port "$1" "$2" 2>/dev/null) || true
	REPLY=${REPLY:+http://$REPLY}
	REPLY=${REPLY:-"(not running)"}
}

# A database keeps the passwords of its first start.
look_for_old_volumes() {
	local volume project=${COMPOSE_PROJECT_NAME:-primepool}
	[[ ! -s infra/compose/secrets/influxdb-token ]] || return 0
	for volume in "${project}_influxdb" "${project}_grafana"; do
		! docker volume inspect "$volume" >/dev/null 2>&1 ||
			die 2 "volume $volume is from an earlier set-up, whose passwords are gone: put infra/compose/secrets back, or delete the data with docker volume rm $volume"
	done
}

ask_influxdb() { # TOKEN PATH [JSON] → its answer; no command line shows the token
	printf 'Authorization: Token %s' "$1" |
		docker compose exec -T influxdb curl -fsS -H @- ${3:+-d "$3"} "http://localhost:8086/api/v2/$2" 2>&1
}

# InfluxDB creates the tokens itself, each with only the permissions that its holder needs. A token
# that InfluxDB does not know, because its data is new, is replaced.
make_influxdb_tokens() {
	local action actions answer file holder operator org resource bucket='buckets?name=primepool'
	docker compose up -d --wait influxdb || die 3 "InfluxDB did not start: see above; $PORT_TAKEN"
	operator=$(cat infra/compose/secrets/influxdb-token)
	answer=$(ask_influxdb "$operator" "$bucket") || die 3 "InfluxDB does not answer: $answer"
	[[ $answer =~ \"id\":\ *\"([0-9a-f]+)\".*\"orgID\":\ *\"([0-9a-f]+)\" ]] || die 3 "InfluxDB has no bucket primepool: $answer"
	org="\"orgID\": \"${BASH_REMATCH[2]}\"" resource="{\"type\": \"buckets\", \"id\": \"${BASH_REMATCH[1]}\"}"
	for holder in consumer:write producer:write,read grafana:read; do
		file=infra/compose/secrets/${holder%%:*}-influxdb-token actions=''
		[[ ! -s $file ]] || ! ask_influxdb "$(cat "$file")" "$bucket" >/dev/null || continue
		for action in write read; do
			[[ ${holder#*:} != *"$action"* ]] || actions+=", {\"action\": \"$action\", \"resource\": $resource}"
		done
		answer=$(ask_influxdb "$operator" authorizations "{$org, \"description\": \"${holder%%:*}\", \"permissions\": [${actions#, }]}") &&
			[[ $answer =~ \"token\":\ *\"([^\"]+)\" ]] || die 3 "InfluxDB makes no token: $answer"
		printf %s "${BASH_REMATCH[1]}" >"$file"
		chmod 644 "$file"
	done
}

where_it_is() {
	local REPLY
	address grafana 3000
	say "Grafana               $REPLY  user admin, password in infra/compose/secrets/grafana-password"
	address rabbitmq 15672
	say "RabbitMQ management   $REPLY  user monitoring, password in infra/compose/secrets/monitoring-password"
	address influxdb 8086
	say "InfluxDB              $REPLY  user admin, password in infra/compose/secrets/influxdb-password"
	address dashboard 8265
	say "dashboard             $REPLY  open /?token=TOKEN, which is in infra/compose/secrets/dashboard-token"
	say "results               runs/compose/"
	say "more:  docker compose up -d --scale consumer=3"
	say "       docker compose run --rm producer --count 1000 --bits 512"
	say "       docker compose run --rm primepool top"
	say "end:   make down"
}

build_image() {
	local log
	if [[ -t 2 ]]; then
		docker compose build consumer && return 0
	else
		log=$(docker compose --progress plain build consumer 2>&1) && return 0
		tail -n 40 <<<"$log" >&2
	fi
	die 1 "the image could not be built: see above"
}

up() {
	local producer status=0
	need_compose
	look_for_old_volumes
	infra/compose/secrets.sh
	# The users of the containers read these files; a clone made with a strict umask would
	# deny it.
	chmod -R a+rX infra/rabbitmq/primepool.conf infra/compose/rabbitmq.conf grafana/provisioning grafana/dashboards
	# The image is built from the current sources; unchanged layers come from Docker's cache.
	build_image
	make_influxdb_tokens
	docker compose up -d "$@" || die 3 "not everything started: see above; docker compose logs SERVICE says more. $PORT_TAKEN"
	producer=$(docker compose ps --all --quiet producer)
	if [[ $producer ]]; then
		# Skip the logs of earlier runs: each `up` starts the same container again.
		docker logs --follow --since "$(docker inspect --format '{{.State.StartedAt}}' "$producer")" "$producer" || true
		status=$(docker inspect --format '{{.State.ExitCode}}' "$producer") || status=1
	fi
	where_it_is
	((status == 0)) || die "$status" "the producer ended with status $status: see above"
}

verb=${1-}
(($# == 0)) || shift
case $verb in
up) up "$@" ;;
down)
	need_compose
	docker compose down
	say "data stays in the volumes and results in runs/compose/; to delete the data: docker compose down --volumes"
	;;
logs)
	need_compose
	docker compose logs --follow --tail 100 "$@"
	;;
*) die 2 "usage: infra/compose/compose.sh up [SERVICE…] | down | logs [SERVICE…]" ;;
esac
