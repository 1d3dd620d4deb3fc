#!/usr/bin/env bash
# Makes this machine a worker: installs program, service and settings. Of the repository it needs
# only this folder and the program.
#   install.sh [--program FILE] [--root DIR]    install or upgrade; keep existing settings and
#                                               secrets. FILE is the consumer (default: consumer
#                                               beside this script, or target/release/consumer of
#                                               the repository); DIR stands for /, to prepare the
#                                               image of a machine
#   install.sh --remove [--root DIR]            stop the service, and remove it and the program;
#                                               settings and secrets are kept
# Exit status: 2 for wrong usage, or if something required is missing.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
service=primepool-consumer.service

say() { printf 'primepool: %s\n' "$*" >&2; }

die() {
	say "$@"
	exit 2
}

root='' program='' remove=''
while (($#)); do
	case $1 in
	--program)
		program=${2-}
		[[ -f $program ]] || die "--program: there is no file '$program'; build it with cargo build --release"
		shift 2
		;;
	--root)
		root=${2-}
		[[ -d $root ]] || die "--root: there is no folder '$root'"
		root=$(cd -- "$root" && pwd -P)
		[[ $root != / ]] || root=''
		shift 2
		;;
	--remove)
		remove=yes
		shift
		;;
	*) die "usage: install.sh [--program FILE] [--root DIR] | install.sh --remove [--root DIR]" ;;
	esac
done
[[ $root || $EUID == 0 ]] || die "this writes to /usr/local/bin and /etc: run it as root"

unit=$root/etc/systemd/system/$service
settings=$root/etc/primepool
installed=$root/usr/local/bin/consumer

# Act on the running system only, and only if it runs systemd.
systemd() {
	[[ $root || ! -d /run/systemd/system ]] || systemctl "$@"
}

if [[ $remove ]]; then
	systemd disable --now "$service" || true
	rm -f -- "$unit" "$installed"
	systemd daemon-reload
	say "the service and $installed are gone; $settings is still there"
	exit 0
fi

if [[ ! $program ]]; then
	for program in "$here/consumer" "$here/../../target/release/consumer"; do
		[[ ! -f $program ]] || break
	done
fi
[[ -f $program ]] || die "the consumer is neither beside this script nor in target/release: name it with --program FILE"
"$program" --version >/dev/null 2>&1 ||
	die "$program does not run here: was it built for this processor, and on a machine whose C library is no newer than this one's?"

# A running program cannot be overwritten, but it can be replaced.
install -D -m 755 -- "$program" "$installed.new"
mv -f -- "$installed.new" "$installed"
install -D -m 644 -- "$here/$service" "$unit"
install -d -m 755 -- "$settings"
[[ -e $settings/consumer.env ]] || install -m 644 -- "$here/consumer.env" "$settings/consumer.env"
for secret in amqp-url influx-token; do
	[[ -e $settings/$secret ]] || install -m 600 /dev/null "$settings/$secret"
done
systemd daemon-reload

say "installed $("$program" --version)"
if [[ ! -s $settings/amqp-url ]]; then
	say "next: write the broker's address, amqps://USER:PASSWORD@HOST:5671/VHOST, into $settings/amqp-url (only root can read it),"
	say "      options, if any, into $settings/consumer.env, and the token of an InfluxDB into $settings/influx-token;"
	say "then: systemctl enable --now primepool-consumer; journalctl -u primepool-consumer says 'consuming' when it has joined"
else
	say "next: systemctl enable primepool-consumer; systemctl restart primepool-consumer (it finishes the units at hand first)"
fi
