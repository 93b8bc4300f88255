# Rights of the two logins, the same as in `stack/servers/mariadb.py`: MYSQL_USER, which the image creates, owns the
# dataset databases; CONNECTOR_DATABASE_USER reads them and the binary log, and
# writes the table of signals only.
#
# The entrypoint of the MySQL image sources this file after it has created a new data folder.

millrace_literal() {
    local text=${1//\\/\\\\}
    printf "'%s'" "${text//\'/\\\'}"
}

millrace_accounts() {
    local owner connector database pattern
    owner="$(millrace_literal "$MYSQL_USER")@'%'"
    connector="$(millrace_literal "$CONNECTOR_DATABASE_USER")@'%'"
    # Keep the accounts out of the binary log.
    echo "SET SESSION sql_log_bin = 0;"
    echo "CREATE USER IF NOT EXISTS $connector IDENTIFIED BY $(millrace_literal "$CONNECTOR_DATABASE_PASSWORD");"
    # Batch jobs read the age of the oldest open transaction (PROCESS) and the log position (REPLICATION CLIENT).
    echo "GRANT PROCESS, REPLICATION CLIENT ON *.* TO $owner;"
    echo "GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO $connector;"
    for database in $DATASET_DATABASES; do
        pattern=${database//_/\\_} # an unescaped underscore would match any character
        echo "GRANT ALL PRIVILEGES ON \`$pattern\`.* TO $owner;"
        echo "GRANT SELECT, LOCK TABLES ON \`$pattern\`.* TO $connector;"
        # CREATE, because only with this right may others be granted on a table that does not exist yet.
        echo "GRANT CREATE, INSERT, DELETE ON \`$database\`.millrace_signal TO $connector;"
    done
}

docker_process_sql --database=mysql < <(millrace_accounts)
