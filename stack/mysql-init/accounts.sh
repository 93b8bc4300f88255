# Rights of the two logins, as `stack/servers/mariadb.py` gives them: MYSQL_USER, which the image has made, owns the
# dataset databases; CONNECTOR_DATABASE_USER reads them and the binary log, and can do nothing else.
#
# The entrypoint of the MySQL image sources this file when it has made a new data folder.

millrace_literal() {
    local text=${1//\\/\\\\}
    printf "'%s'" "${text//\'/\\\'}"
}

millrace_accounts() {
    local owner connector database pattern
    owner="$(millrace_literal "$MYSQL_USER")@'%'"
    connector="$(millrace_literal "$CONNECTOR_DATABASE_USER")@'%'"
    # Accounts are no business of those who read the log.
    echo "SET SESSION sql_log_bin = 0;"
    echo "CREATE USER IF NOT EXISTS $connector IDENTIFIED BY $(millrace_literal "$CONNECTOR_DATABASE_PASSWORD");"
    # The age of the oldest open transaction bounds what a batch may read; the log position dates it.
    echo "GRANT PROCESS, REPLICATION CLIENT ON *.* TO $owner;"
    echo "GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO $connector;"
    for database in $DATASET_DATABASES; do
        pattern=${database//_/\\_} # an underscore would stand for any character
        echo "GRANT ALL PRIVILEGES ON \`$pattern\`.* TO $owner;"
        echo "GRANT SELECT, LOCK TABLES ON \`$pattern\`.* TO $connector;"
    done
}

docker_process_sql --database=mysql < <(millrace_accounts)
