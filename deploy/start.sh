#!/bin/sh
# Becomes the server, with the permissions that its environment calls for and no process beside it:
# the entry of the image and of the systemd unit. KPIS_PG_DSN (or KPIS_PG_DSN_FILE) has to be set.
set -eu
# what the server writes holds data: of its account alone
umask 077
cd "$(dirname "$0")/.."
# its own permissions: it reads the environment and secret files, and makes the data directories
commands=$("${DENO:-deno}" run --quiet --frozen --cached-only --no-prompt \
  --allow-env --allow-read --allow-write --allow-sys scripts/server_command.ts)
eval "$commands"
