#!/bin/bash
# Like the image of InfluxDB 2: the initial set-up from variables, on a port that no other container
# can reach; then the server.
set -euo pipefail
data=/var/lib/influxdb2
serve=(influxd run "--bolt-path=$data/influxd.bolt" "--sqlite-path=$data/influxd.sqlite" "--engine-path=$data/engine")
if [[ ! -e $data/influxd.bolt ]]; then
	[[ $DOCKER_INFLUXDB_INIT_MODE == setup ]]
	"${serve[@]}" --http-bind-address=127.0.0.1:9999 &
	until INFLUX_HOST=http://127.0.0.1:9999 influx ping 2>/dev/null; do sleep 0.1; done
	# This script accepts hours or seconds; the image accepts any duration.
	keep=${DOCKER_INFLUXDB_INIT_RETENTION:-0}
	[[ $keep != *h ]] || keep=$((${keep%h} * 3600))
	curl -fsS -o /dev/null http://127.0.0.1:9999/api/v2/setup -d @- <<-EOF
		{"username": "$DOCKER_INFLUXDB_INIT_USERNAME", "password": "$(cat "$DOCKER_INFLUXDB_INIT_PASSWORD_FILE")",
		"token": "$(cat "$DOCKER_INFLUXDB_INIT_ADMIN_TOKEN_FILE")", "org": "$DOCKER_INFLUXDB_INIT_ORG",
		"bucket": "$DOCKER_INFLUXDB_INIT_BUCKET", "retentionPeriodSeconds": ${keep%s}}
	EOF
	kill %1
	wait %1 || true
fi
exec "${serve[@]}"
