#!/bin/bash
# At the first start of PostgreSQL: a role for the gateway that may read the ledger's views and keep API keys and webhooks, and nothing else.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$READER_PASSWORD" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
create role weir_reader nologin;
create role weir_identity nologin;
create role weir_webhooks nologin;
create role weir_gateway login password :'password' in role weir_reader, weir_identity, weir_webhooks;
SQL
