#!/usr/bin/env bash
# Prints the secrets of a pool on Kubernetes, with new passwords, as input for kubectl. This machine
# keeps no copy.
#   secrets.sh [--influx-token-file FILE] | kubectl create -f -     once, before everything else;
#                                                                   fails if secrets exist
#   secrets.sh [--influx-token-file FILE] | kubectl replace -f -    new passwords; then restart the
#                                                                   pods of broker and consumers
#                                                                   (docs/OPERATIONS.md)
# FILE holds the token of the InfluxDB that consumers and producers write to.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/lib.sh"

token=/dev/null
case $#:${1-} in
0:) ;;
2:--influx-token-file)
	token=$2
	[[ -s $token ]] || die 2 "--influx-token-file: there is no token in '$token'"
	;;
*) die 2 "usage: infra/kubernetes/secrets.sh [--influx-token-file FILE] | kubectl create -f -" ;;
esac
[[ ! -t 1 ]] || die 2 "this prints passwords: pipe it into kubectl create -f -"

# The same host names and users as in this folder and in infra/rabbitmq.
namespace=primepool broker=primepool-broker vhost=primepool

secret() { # NAME, then lines "KEY BASE64" on standard input
	local key value
	printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\ntype: Opaque\ndata:\n' "$1" "$namespace"
	while read -r key value; do
		printf '  %s: "%s"\n' "$key" "$value"
	done
}

entry() { # KEY: the value is on standard input
	printf '%s %s\n' "$1" "$(base64 -w0)"
}

declare -A password
for user in consumer producer operator monitoring; do
	password[$user]=$(random_hex 20)
done

definitions=$(for user in "${!password[@]}"; do
	printf '%s %s\n' "$user" "${password[$user]}"
done | "$PRIMEPOOL_ROOT/infra/rabbitmq/definitions.sh")

printf '%s' "$definitions" | entry definitions.json | secret primepool-broker-definitions
amqp_url() { # USER
	printf 'amqp://%s:%s@%s:5672/%s' "$1" "${password[$1]}" "$broker" "$vhost" | entry amqp-url
}
for user in consumer producer; do
	{
		amqp_url "$user"
		entry influx-token <"$token"
	} | secret "primepool-$user"
done
amqp_url operator | secret primepool-operator
# KEDA reads the management API from its own namespace. The password is also valid for the
# management interface.
{
	printf 'http://monitoring:%s@%s.%s.svc:15672/' "${password[monitoring]}" "$broker" "$namespace" | entry host
	printf '%s' "${password[monitoring]}" | entry password
} | secret primepool-monitoring
