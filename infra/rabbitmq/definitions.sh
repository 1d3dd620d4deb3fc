#!/usr/bin/env bash
# Prints definitions.json with the hashes of passwords, ready for RabbitMQ (load_definitions,
# rabbitmqctl import_definitions).
#   definitions.sh [--administrator NAME] <PASSWORDS
# Standard input has lines "USER PASSWORD" for consumer, producer, operator and monitoring; a user
# without a line cannot log in. --administrator adds a user, with a password line of its own, who
# has all permissions in the pool's virtual host and in RabbitMQ's default one.
set -euo pipefail

# shellcheck source=infra/local/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../local/lib.sh"
template=$PRIMEPOOL_ROOT/infra/rabbitmq/definitions.json
usage="usage: infra/rabbitmq/definitions.sh [--administrator NAME], with lines \"USER PASSWORD\" on standard input"

administrator=''
case $#:${1-} in
0:) ;;
2:--administrator)
	administrator=$2
	[[ $administrator =~ ^[A-Za-z0-9._-]+$ ]] ||
		die 2 "administrator '$administrator': only letters, digits, dot, dash and underscore"
	;;
*) die 2 "$usage" ;;
esac

# shellcheck disable=SC2001 # no pattern of the shell matches two digits and keeps them
bytes() { # HEX
	printf '%b' "$(sed 's/../\\x&/g' <<<"$1")"
}

# RabbitMQ's password hash: four bytes of salt, then SHA-256 of salt and password, in base64.
hash_of() { # PASSWORD → REPLY
	local salt digest
	salt=$(random_hex 4)
	digest=$({ bytes "$salt" && printf %s "$1"; } | sha256sum)
	REPLY=$(bytes "$salt${digest%% *}" | base64 -w0)
}

user_line() { # NAME HASH TAG
	printf '    {"name": "%s", "password_hash": "%s", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ["%s"], "limits": {}},' "$@"
}

permission_line() { # NAME VHOST
	printf '    {"user": "%s", "vhost": "%s", "configure": ".*", "write": ".*", "read": ".*"},' "$@"
}

# A script for sed, not arguments: every user of the machine can read a command line, and a password
# can be guessed from its hash.
edits=()
# shellcheck disable=SC1003 # the text of sed's command "a" begins after a backslash
while read -r name password; do
	[[ $password ]] || die 2 "no password for '$name'. $usage"
	hash_of "$password"
	if [[ $name == "$administrator" ]]; then
		edits+=('/^  "vhosts": \[/a\' '    {"name": "/"},')
		edits+=('/^  "users": \[/a\' "$(user_line "$name" "$REPLY" administrator)")
		edits+=('/^  "permissions": \[/a\' "$(permission_line "$name" /)\\" "$(permission_line "$name" primepool)")
		administrator=''
	else
		grep -q "{\"name\": \"$name\", \"password_hash\"" "$template" || die 2 "there is no user '$name' in $template"
		edits+=("s|\(\"name\": \"$name\", \"password_hash\": \)\"\"|\1\"$REPLY\"|")
	fi
done
[[ ! $administrator ]] || die 2 "no password for the administrator. $usage"
sed -f <(printf '%s\n' ${edits[@]+"${edits[@]}"}) "$template"
