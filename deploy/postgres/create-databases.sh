#!/bin/sh
# Runs once, on an empty server: a role and a database each for Dagster and for the ledger. The webserver and the daemon
# get only Dagster's password, so neither can read or change who was invited.
set -eu

create() {
  # The password travels in the environment: arguments show in the list of processes.
  ROLE="$1" PASSWORD="$2" psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv role ROLE
\getenv password PASSWORD
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role";
REVOKE CONNECT ON DATABASE :"role" FROM PUBLIC;
SQL
}

create dagster "$DAGSTER_PG_PASSWORD"
create ledger "$LEDGER_PG_PASSWORD"
