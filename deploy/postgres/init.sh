#!/bin/sh
# Runs once, when the database is made: pg_cron, the role of the server, and one that only reads.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  -v etl_password="$(cat "${ETL_PASSWORD_FILE:-/run/secrets/etl_password}")" \
  -v reader_password="$(cat "${READER_PASSWORD_FILE:-/run/secrets/reader_password}")" <<'SQL'
create extension if not exists pg_cron;
create role etl login password :'etl_password';
-- what Grafana uses; set-up grants it what the dashboards show
create role etl_reader login password :'reader_password';
alter role etl_reader set default_transaction_read_only = on;
alter role etl_reader set statement_timeout = '30s';
SQL
