"""PostgreSQL: a source database with a logical log, from Debian's package; the package's own cluster is never used.

Accounts: `postgres` is the superuser, whom only the stack uses; `millrace` creates and owns the dataset databases;
`connector` reads the log; `batch` reads all tables, and sees the age of other users' transactions. All log in with
passwords (SCRAM). PostgreSQL refuses to run as root: if root runs the stack, the server runs as the package's user
`postgres`, and its data is in a folder that this user can reach (`Site.service_folder`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

from config.settings import environment_with
from stack.artifacts.system import fetch_system, require_program
from stack.job import Job
from stack.ports import HOST
from stack.process import as_user
from stack.servers.base import Command, Server, UnhealthyError
from stack.servers.postgres_lock import clear_lock
from stack.site import Site

SUPERUSER = "postgres"
OWNER_USER = "millrace"
CONNECTOR_USER = "connector"
BATCH_USER = "batch"

_ANSWER_SECONDS = 10
_SERVICE_USER = "postgres"
_LOGINS = f"host all all {HOST}/32 scram-sha-256\n"
_INHERITED = ("PATH", "LANG", "LD_LIBRARY_PATH")


class Postgres(Server):
    """The PostgreSQL server."""

    name: ClassVar[str] = "postgres"
    port_names: ClassVar[tuple[str, ...]] = ("postgres",)
    # SIGTERM would wait until all clients have closed their connections.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def fetch(self, site: Site, job: Job) -> None:
        """Install PostgreSQL's packages if they are missing."""
        fetch_system(["postgres", "initdb", "psql"], job)

    def prepare(self, site: Site, job: Job) -> None:
        """Create the data folder if it is new, and write the settings into it."""
        data = site.make_service_folder(self.name, _service_user()) / "data"
        if not data.exists():
            self._create_data(site, data, job)
        clear_lock(data, job)
        (data / "millrace.conf").write_text(server_settings(site))
        (data / "pg_hba.conf").write_text(_LOGINS)

    def _create_data(self, site: Site, data: Path, job: Job) -> None:
        partial = data.with_name("data.partial")
        if partial.exists():  # left by an interrupted installation
            shutil.rmtree(partial)
        password = data.with_name("superuser")
        password.touch(mode=0o600)
        password.write_text(f"{site.credentials.postgres_superuser_password}\n")
        _give_to_service(password)
        command = [require_program("initdb"), f"--pgdata={partial}", f"--username={SUPERUSER}", f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        try:
            job.run([*_as_service(), *command], purpose="creating PostgreSQL's system tables", folder=data.parent)
        finally:
            password.unlink()
        with (partial / "postgresql.conf").open("a") as file:
            file.write("\ninclude = 'millrace.conf'\n")
        partial.rename(data)

    def command(self, site: Site) -> Command:
        """Return the start command, which contains no settings: they are in the data folder."""
        data = site.service_folder(self.name, _service_user()) / "data"
        return Command(arguments=[require_program("postgres"), "-D", str(data)], user=_service_user())

    def check(self, site: Site) -> None:
        """Log in as the superuser, which fails while the server recovers after a crash."""
        _run_sql(site, "SELECT 1")

    def complete(self, site: Site) -> None:
        """Create the accounts, or give them their passwords again."""
        _run_sql(site, accounts_sql(site))

    def environment(self, site: Site) -> dict[str, str]:
        """Return the server's address and the login of `millrace`."""
        return {
            "PGHOST": HOST,
            "PGPORT": str(site.ports["postgres"]),
            "PGUSER": OWNER_USER,
            "PGPASSWORD": site.credentials.postgres_password,
        }

    def forget(self, site: Site) -> None:
        """Delete the data folder, which may be outside the stack's folder."""
        shutil.rmtree(site.service_folder(self.name, _service_user()), ignore_errors=True)


def server_settings(site: Site) -> str:
    """Build the server's settings, which the generated `postgresql.conf` includes."""
    return f"""\
listen_addresses = '{HOST}'
port = {site.ports["postgres"]}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
shared_buffers = '128MB'
max_connections = 100

# The connector reads the logical log through a slot. A connector that was deleted by hand leaves its slot, so there is
# room for many; and a slot that nobody reads must not fill the disk: beyond this size, the server gives it up.
wal_level = logical
max_replication_slots = 32
max_wal_senders = 32
max_slot_wal_keep_size = '4GB'
"""


def accounts_sql(site: Site) -> str:
    """Build the statements that create the accounts and give them their rights; they may be repeated."""
    passwords = {
        OWNER_USER: site.credentials.postgres_password,
        CONNECTOR_USER: site.credentials.connector_password,
        BATCH_USER: site.credentials.postgres_batch_password,
    }
    statements = ["SET log_statement = 'none'"]
    for user, password in passwords.items():
        statements.append(
            f"DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') "
            f"THEN CREATE ROLE {user} LOGIN; END IF; END$$"
        )
        statements.append(f"ALTER ROLE {user} PASSWORD '{password}'")
    # The owner makes publications and drops slots, and the batch jobs and its tools ask for others' transactions.
    statements.append(f"ALTER ROLE {OWNER_USER} CREATEDB REPLICATION")
    statements.append(f"ALTER ROLE {CONNECTOR_USER} REPLICATION")
    statements.append(f"GRANT pg_read_all_stats TO {OWNER_USER}, {BATCH_USER}")
    statements.append(f"GRANT pg_read_all_data TO {BATCH_USER}")
    return "".join(f"{statement};\n" for statement in statements)


def _run_sql(site: Site, script: str) -> None:
    """Run statements as the superuser; the password and the statements are not on the command line."""
    login = {
        "PGHOST": HOST,
        "PGPORT": str(site.ports["postgres"]),
        "PGUSER": SUPERUSER,
        "PGPASSWORD": site.credentials.postgres_superuser_password,
        "PGDATABASE": "postgres",
        "PGCONNECT_TIMEOUT": str(_ANSWER_SECONDS),
    }
    command = [require_program("psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--set=ON_ERROR_STOP=1"]
    try:
        done = subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            env=environment_with(login, only=_INHERITED),
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnhealthyError(f"no answer within {_ANSWER_SECONDS} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise UnhealthyError(lines[-1] if lines else f"psql exited with code {done.returncode}")


def _service_user() -> str | None:
    """Return the user as whom the server runs if that is another than this process's, else None."""
    return _SERVICE_USER if os.geteuid() == 0 else None


def _as_service() -> list[str]:
    user = _service_user()
    return [] if user is None else as_user(user)


def _give_to_service(path: Path) -> None:
    user = _service_user()
    if user is not None:
        shutil.chown(path, user, user)
