#!/usr/bin/env bash
# Makes the passwords of docker-compose.yml where there are none yet: infra/compose/secrets/, runs/compose/, and what docker compose
# needs to know of them in .env. What is there stays as it is.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/lib.sh"

cd "$PRIMEPOOL_ROOT"
secrets=infra/compose/secrets
runs=runs/compose
users=(consumer producer operator)
needed=(rabbitmq-definitions "${users[@]/%/-amqp-url}" monitoring-password influxdb-password influxdb-token grafana-password dashboard-token)

# Nobody else on this machine gets into the folder. The files themselves can be read by anyone who gets them mounted: the programs in
# the containers run as users of their own, and Compose gives them files as they are here.
umask 077
mkdir -p "$secrets"
chmod 700 "$secrets"

missing=()
for name in "${needed[@]}"; do
	[[ -s $secrets/$name ]] || missing+=("$name")
done

write() { # NAME: standard input, without a line's end, which some of the servers would take as part of it
	local text
	text=$(cat)
	printf %s "$text" >"$secrets/.new"
	chmod 644 "$secrets/.new"
	mv -f -- "$secrets/.new" "$secrets/$1"
}

# The broker's definitions hold hashes of the passwords that the others hold, so they are made together. A password that is there
# stays, so that a user of a later version is added while the others work.
make_broker_secrets() {
	local user password passwords=()
	for user in "${users[@]}"; do
		password=$(sed -n 's|^amqp://[^:]*:\([^@]*\)@.*|\1|p' "$secrets/$user-amqp-url" 2>/dev/null) || true
		password=${password:-$(random_hex 20)}
		printf 'amqp://%s:%s@rabbitmq:5672/primepool' "$user" "$password" | write "$user-amqp-url"
		passwords+=("$user $password")
	done
	password=$(cat "$secrets/monitoring-password" 2>/dev/null) || true
	password=${password:-$(random_hex 20)}
	printf %s "$password" | write monitoring-password
	printf '%s\n' "${passwords[@]}" "monitoring $password" | infra/rabbitmq/definitions.sh | write rabbitmq-definitions
}

broker_made=''
for name in ${missing[@]+"${missing[@]}"}; do
	case $name in
	influxdb-* | grafana-* | dashboard-*) random_hex 20 | write "$name" ;;
	*)
		[[ $broker_made ]] || make_broker_secrets
		broker_made=yes
		;;
	esac
done
((${#missing[@]} == 0)) || say "passwords made in $secrets: ${missing[*]}"

# The producer writes the results as whoever calls this; where that is root, as the image's own user.
user=$(id -u):$(id -g)
[[ $user != 0:* ]] || user=10001:10001
umask 022
mkdir -p "$runs"
[[ $user != 10001:10001 ]] || chown "$user" "$runs"

set_variable() { # NAME VALUE: in .env, unless it is there
	[[ ! -f .env ]] || ! grep -q "^$1=" .env || return 0
	# A last line without an end would swallow ours.
	[[ ! -s .env || ! $(tail -c 1 .env) ]] || printf '\n' >>.env
	printf '%s=%s\n' "$1" "$2" >>.env
}
set_variable PRIMEPOOL_SECRETS "./$secrets"
set_variable PRIMEPOOL_USER "$user"
