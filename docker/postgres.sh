#!/bin/bash
# Starts PostgreSQL with TLS and logical replication. PostgreSQL wants its key to be its own.
set -euo pipefail
install -o postgres -g postgres -m 600 "/run/secrets/${TLS_NAME:?}_key" /var/lib/postgresql/server.key
install -o postgres -g postgres -m 644 "/run/secrets/${TLS_NAME}_certificate" /var/lib/postgresql/server.crt
exec docker-entrypoint.sh postgres \
  -c ssl=on -c ssl_key_file=/var/lib/postgresql/server.key -c ssl_cert_file=/var/lib/postgresql/server.crt \
  -c wal_level=logical -c max_replication_slots=20 -c max_wal_senders=20 "$@"
