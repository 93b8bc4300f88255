# Accounts and rights, the same as in `stack/servers/postgres.py`: OWNER_USER creates and owns the dataset databases;
# CONNECTOR_PG_USER reads the log, and gets the rights on each database from `millrace connector apply`.
#
# The entrypoint of the PostgreSQL image sources this file after it has created a new data folder.

millrace_literal() {
    printf "'%s'" "${1//\'/\'\'}"
}

millrace_accounts() {
    # Keep the passwords out of the log.
    echo "SET log_statement = 'none';"
    echo "CREATE ROLE $OWNER_USER LOGIN PASSWORD $(millrace_literal "$OWNER_PASSWORD");"
    echo "CREATE ROLE $CONNECTOR_PG_USER LOGIN PASSWORD $(millrace_literal "$CONNECTOR_PG_PASSWORD");"
    echo "ALTER ROLE $OWNER_USER CREATEDB REPLICATION;"
    echo "ALTER ROLE $CONNECTOR_PG_USER REPLICATION;"
    echo "GRANT pg_read_all_stats TO $OWNER_USER;"
}

docker_process_sql --dbname postgres < <(millrace_accounts)
