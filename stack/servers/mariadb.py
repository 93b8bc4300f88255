"""MariaDB: the source database, with a row-based binary log.

Accounts: `root` can log in only through the unix socket and as the operating-system user who runs the stack; `millrace`
owns the dataset databases; `connector` reads them and the binary log. The server runs as the user who runs the stack,
even if that is root, because a separate user might have no access to the stack's folder.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import mysql.connector

from config.dataset import DefinitionError, known_datasets, load_definition
from stack.artifacts.system import fetch_system, require_program
from stack.errors import StackError
from stack.job import Job
from stack.ports import HOST
from stack.servers.base import Command, Server, UnhealthyError
from stack.site import Site

OWNER_USER = "millrace"
CONNECTOR_USER = "connector"

_ANSWER_SECONDS = 3
_SERVER_ID = 1
_TEN_DAYS_SECONDS = 10 * 24 * 60 * 60


class MariaDB(Server):
    """The MariaDB server."""

    name: ClassVar[str] = "mariadb"
    port_names: ClassVar[tuple[str, ...]] = ("mariadb",)

    def fetch(self, site: Site, job: Job) -> None:
        """Install MariaDB's packages if they are missing."""
        fetch_system(["mariadbd", "mariadb-install-db", "mariadb"], job)

    def prepare(self, site: Site, job: Job) -> None:
        """Write the settings file and the accounts, and create the system tables if the data folder is new."""
        site.write_secret("mariadb.sql", accounts_sql(site, dataset_databases()))
        site.write_secret("mariadb.cnf", server_settings(site))
        data = site.data(self.name)
        if data.exists():
            return
        partial = data.with_name(f"{data.name}.partial")
        if partial.exists():  # left by an interrupted installation
            shutil.rmtree(partial)
        job.run(
            [
                require_program("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={partial}",
                *_run_as(),
                "--auth-root-authentication-method=socket",
                f"--auth-root-socket-user={_system_user()}",
                "--skip-test-db",
                "--skip-name-resolve",
            ],
            purpose="creating MariaDB's system tables",
        )
        partial.rename(data)

    def command(self, site: Site) -> Command:
        """Return the start command; the server reads only this stack's settings file."""
        arguments = [require_program("mariadbd"), f"--defaults-file={site.conf('mariadb.cnf')}", *_run_as()]
        return Command(arguments=arguments)

    def check(self, site: Site) -> None:
        """Log in as `millrace`, the owner of the dataset databases."""
        try:
            mysql.connector.connect(
                host=HOST,
                port=site.ports["mariadb"],
                user=OWNER_USER,
                password=site.credentials.mysql_password,
                collation="utf8mb4_general_ci",
                connection_timeout=_ANSWER_SECONDS,
            ).close()
        except mysql.connector.Error as error:
            raise UnhealthyError(f"login failed: {error.msg}") from None

    def environment(self, site: Site) -> dict[str, str]:
        """Return the server's address and the login of `millrace`."""
        return {
            "MYSQL_HOST": HOST,
            "MYSQL_PORT": str(site.ports["mariadb"]),
            "MYSQL_USER": OWNER_USER,
            "MYSQL_PASSWORD": site.credentials.mysql_password,
        }


def socket_path(site: Site) -> Path:
    """Return the path of the server's unix socket."""
    return site.socket_folder() / "mariadb.sock"


def server_settings(site: Site) -> str:
    """Build the server's settings file."""
    return f"""\
[mariadbd]
datadir = {site.data("mariadb")}
socket = {socket_path(site)}
pid-file = {site.folder / "run" / "mariadb.pid"}
init-file = {site.conf("mariadb.sql")}
bind-address = {HOST}
port = {site.ports["mariadb"]}
skip-name-resolve
character-set-server = utf8mb4
collation-server = utf8mb4_unicode_ci
default-time-zone = +00:00
local-infile = 0

server-id = {_SERVER_ID}
log-bin = binlog
binlog-format = ROW
binlog-row-image = FULL
binlog-expire-logs-seconds = {_TEN_DAYS_SECONDS}
# Keep log positions in the events, because they order the changes (MariaDB 11.4 and later; unknown before).
loose-binlog-legacy-event-pos = 1

# Commits and their log entries must survive a power cut, because the stream is made from the log.
innodb-flush-log-at-trx-commit = 1
sync-binlog = 1
innodb-buffer-pool-size = 256M
max-allowed-packet = 64M
"""


def accounts_sql(site: Site, databases: Sequence[str]) -> str:
    """Build the statements, one per line, that the server runs at every start before it accepts logins."""
    owner, connector = f"'{OWNER_USER}'@'{HOST}'", f"'{CONNECTOR_USER}'@'{HOST}'"
    statements = ["SET SESSION sql_log_bin = 0"]  # keeps accounts out of the binary log
    for account, password in (
        (owner, site.credentials.mysql_password),
        (connector, site.credentials.connector_password),
    ):
        statements.append(f"CREATE USER IF NOT EXISTS {account}")
        statements.append(f"ALTER USER {account} IDENTIFIED BY '{password}'")
    # Batch jobs read the age of the oldest open transaction (PROCESS) and the log position (BINLOG MONITOR).
    statements.append(f"GRANT PROCESS, BINLOG MONITOR ON *.* TO {owner}")
    statements.append(f"GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {connector}")
    for database in databases:
        pattern = database.replace("_", r"\_")  # an unescaped underscore would match any character
        statements.append(f"GRANT ALL PRIVILEGES ON `{pattern}`.* TO {owner}")
        statements.append(f"GRANT SELECT, LOCK TABLES ON `{pattern}`.* TO {connector}")
        # CREATE, because only with this right may others be granted on a table that does not exist yet.
        statements.append(f"GRANT CREATE, INSERT, DELETE ON `{database}`.millrace_signal TO {connector}")
    return "".join(f"{statement};\n" for statement in statements)


def dataset_databases() -> list[str]:
    """Return the database names of all datasets whose source is MariaDB or MySQL."""
    try:
        definitions = [load_definition(name) for name in known_datasets()]
    except DefinitionError as error:
        raise StackError(f"can't read the dataset definitions, which name the databases: {error}") from None
    return sorted({definition.database for definition in definitions if definition.engine == "mysql"})


def _run_as() -> list[str]:
    # The server requires this option when root starts it.
    return ["--user=root"] if os.geteuid() == 0 else []


def _system_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in a container whose user id has no name
        return "root"
