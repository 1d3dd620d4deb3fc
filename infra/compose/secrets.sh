#!/usr/bin/env bash
# Makes the missing passwords of docker-compose.yml in infra/compose/secrets/, the folder
# runs/compose/, and the variables in .env that tell docker compose about them. Whatever exists
# already is kept.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/lib.sh"

cd "$PRIMEPOOL_ROOT"
secrets=infra/compose/secrets
runs=runs/compose
users=(consumer producer operator)
needed=(rabbitmq-definitions "${users[@]/%/-amqp-url}" monitoring-password influxdb-password influxdb-token grafana-password dashboard-token)

# No other user of this machine can enter the folder. The files themselves can be read by all users:
# Compose mounts them as they are, and the programs in the containers run as users of their own.
umask 077
mkdir -p "$secrets"
chmod 700 "$secrets"

missing=()
for name in "${needed[@]}"; do
	[[ -s $secrets/$name ]] || missing+=("$name")
done

write() { # NAME: standard input, without the final newline, which some servers would take as a part
	local text
	text=$(cat)
	printf %s "$text" >"$secrets/.new"
	chmod 644 "$secrets/.new"
	mv -f -- "$secrets/.new" "$secrets/$1"
}

# The broker's definitions contain hashes of the passwords in the other files, so they are made
# together. An existing password is kept, so that adding a user of a later version does not change
# the others.
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

# The producer writes its results as the user who runs this script; for root, as the image's user.
user=$(id -u):$(id -g)
[[ $user != 0:* ]] || user=10001:10001
umask 022
mkdir -p "$runs"
[[ $user != 10001:10001 ]] || chown "$user" "$runs"

set_variable() { # NAME VALUE: adds it to .env unless it is set there
	[[ ! -f .env ]] || ! grep -q "^$1=" .env || return 0
	# If the last line had no newline, ours would be appended to it.
	[[ ! -s .env || ! $(tail -c 1 .env) ]] || printf '\n' >>.env
	printf '%s=%s\n' "$1" "$2" >>.env
}
set_variable PRIMEPOOL_SECRETS "./$secrets"
set_variable PRIMEPOOL_USER "$user"
