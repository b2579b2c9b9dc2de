#!/bin/bash
# Runs once, on an empty volume: a source gets its schema and what the connector needs; Causeway's own
# cluster gets the role that owns its database.
set -euo pipefail

run() { psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$1" "${@:2}"; }

# The password goes over standard input, where no process list shows it.
set_password() {
  printf "alter role %s password '%s';\n" "$1" "$(cat "/run/secrets/$2")" | run postgres
}

if [ -d "/causeway/${CLUSTER:?}" ]; then
  for script in "/causeway/$CLUSTER"/*.sql; do
    run "$POSTGRES_DB" --file "$script"
  done
  set_password causeway_capture "${CLUSTER}_capture_password"
else
  run postgres --command 'create role causeway login'
  run postgres --command 'create database causeway owner causeway'
  set_password causeway causeway_db_password
fi
