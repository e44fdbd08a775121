#!/bin/sh
# Makes what compose.yaml mounts as secrets: random, once, readable by the accounts in the containers
# (compose mounts each file as it is, so that its mode counts there; here the directory keeps others out).
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
for name in postgres_password etl_password reader_password admin_token grafana_password; do
  [ -s "secrets/$name" ] && continue
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name"
  chmod 644 "secrets/$name"
  echo "made deploy/secrets/$name"
done
