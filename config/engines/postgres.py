"""PostgreSQL, from version 12 on.

Every connection has the time zone UTC, the dataset's schema as its only search path, and a limit on waiting for locks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from config.database_settings import PostgresSettings
from config.definition import Column
from config.engines.base import SHORT_LOCK_WAIT_S, Clock, Connection, Engine, SourceSettings
from config.engines.faults import EngineError, Fault, Words
from config.engines.postgres_connection import DEFAULT_SCHEMA, LOCK_WAIT_S, opened_postgres
from config.engines.postgres_types import KINDS, UNBOUNDED, size_text, value_text
from config.tls import libpq_options

HEARTBEAT_TABLE: Final = "millrace_heartbeat"
"""A table with one row, which belongs to the connector's publication: its changes move the connector's place."""

_POLL_S: Final = 0.05
_MAINTENANCE_DATABASE: Final = "postgres"
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_AWAY_STATES: Final = ("08", "57P", "53300")
_FAULTS: Final = {
    "28P01": Fault.LOGIN,
    "28000": Fault.LOGIN,
    "3D000": Fault.NO_DATABASE,
    "42P01": Fault.NO_TABLE,
    "40P01": Fault.LOCKED,
    "40001": Fault.LOCKED,
    "55P03": Fault.LOCKED,
    "23505": Fault.DUPLICATE,
}
_NO_LOGIN: Final = r"password authentication failed|no pg_hba\.conf entry|role \"[^\"]*\" does not exist"
_NO_DATABASE: Final = r"database \"[^\"]*\" does not exist"

_COLUMNS: Final = """
    SELECT c.relname, a.attname, CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN b.typname ELSE t.typname END
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_type AS b ON b.oid = t.typbasetype
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
      AND NOT a.attisdropped
"""
# A transaction that has written nothing yet counts too: its now(), which a trigger may write, is that of its beginning.
_OLDEST: Final = """
    SELECT extract(epoch FROM clock_timestamp() - min(began))::float8 FROM (
        SELECT xact_start AS began FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        UNION ALL SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()
    ) AS open
"""
# A commit is in the log before others see it, for as long as a standby lets it wait. Only a running statement commits.
_COMMITTING: Final = """
    SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND state = 'active' AND backend_type <> 'walsender' AND (backend_xid IS NOT NULL OR query ~* '^\\s*commit')
"""


class Postgres(Engine):
    """A PostgreSQL server."""

    name = "postgres"
    schemes = ("postgres", "postgresql")
    port = 5432
    settings = PostgresSettings
    errors = psycopg.Error
    locking = "FOR SHARE"
    words = Words(
        login="PGUSER and PGPASSWORD",
        address="PGHOST and PGPORT",
        ca="PGSSLROOTCERT",
        rights="SELECT on the tables and the role pg_read_all_stats",
        no_login=_NO_LOGIN,
        away=r"psycopg\.(OperationalError|errors\.(AdminShutdown|CrashShutdown|CannotConnectNow))"
        r"|PSQLException: (Connection to|The connection attempt failed|An I/O error|FATAL: the database system)",
    )
    kinds = KINDS
    unbounded = UNBOUNDED

    def opened(self, settings: SourceSettings, database: str | None, schema: str | None, *, autocommit: bool) -> Any:
        place = {"host": settings.host, "port": settings.port, "user": settings.user, "password": settings.password}
        place |= libpq_options(settings.tls, settings.ca_file)
        return opened_postgres({**place, "dbname": database or _MAINTENANCE_DATABASE}, schema, autocommit=autocommit)

    def reopened(self, driver: Any) -> Any:
        parameters = driver.info.get_parameters() | {"password": driver.info.password}
        return psycopg.connect(**parameters, autocommit=driver.autocommit, prepare_threshold=None)

    def used(self, driver: Any, database: str, schema: str | None) -> Any:
        told = driver.info.get_parameters()
        place = {name: told[name] for name in ("host", "port", "user", "sslmode", "sslrootcert") if name in told}
        place |= {"password": driver.info.password}
        found = opened_postgres({**place, "dbname": database}, schema, autocommit=driver.autocommit)
        driver.close()
        return found

    def close(self, driver: Any) -> None:
        driver.close()

    def fault(self, error: Exception) -> Fault:
        assert isinstance(error, psycopg.Error)
        state, text = error.sqlstate, str(error)
        if state in _FAULTS:
            return _FAULTS[state]
        if state is None and isinstance(error, psycopg.OperationalError):  # as when connecting
            if re.search(_NO_LOGIN, text):
                return Fault.LOGIN
            if self.words.certificate_fault(error):
                return Fault.UNTRUSTED
            return Fault.NO_DATABASE if re.search(_NO_DATABASE, text) else Fault.AWAY
        if state is not None and state.startswith(_AWAY_STATES):
            return Fault.AWAY
        return Fault.STATEMENT if state is None or state[:2] in ("0A", "25", "42", "53") else Fault.OTHER

    def message(self, error: Exception) -> str:
        assert isinstance(error, psycopg.Error)
        return self.reason(error) + (f" (SQLSTATE {error.sqlstate})" if error.sqlstate else "")

    def reason(self, error: Exception) -> str:
        assert isinstance(error, psycopg.Error)
        return error.diag.message_primary or " ".join(str(error).split())

    @contextmanager
    def consistent_snapshot(self, connection: Connection) -> Iterator[None]:
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            connection.rollback()

    @contextmanager
    def locking_reads(self, connection: Connection) -> Iterator[None]:
        connection.rollback()
        try:
            yield
        finally:
            connection.rollback()

    @contextmanager
    def short_lock_waits(self, connection: Connection) -> Iterator[None]:
        connection.rollback()
        self._set_lock_timeout(connection, f"'{SHORT_LOCK_WAIT_S}s'")
        yield
        connection.rollback()
        self._set_lock_timeout(connection, "DEFAULT")

    def _set_lock_timeout(self, connection: Connection, limit: str) -> None:
        connection.driver.execute(f"SET lock_timeout = {limit}")
        connection.commit()  # a rollback takes the setting back

    @contextmanager
    def savepoint(self, connection: Connection) -> Iterator[None]:
        """Roll a refused statement back: otherwise PostgreSQL refuses the rest of its transaction."""
        connection.driver.execute("SAVEPOINT before_statement")
        try:
            yield
        except psycopg.Error:
            if not connection.driver.broken:
                connection.driver.execute("ROLLBACK TO SAVEPOINT before_statement")
            raise
        connection.driver.execute("RELEASE SAVEPOINT before_statement")

    def quoted(self, identifier: str) -> str:
        assert _IDENTIFIER.fullmatch(identifier), identifier
        return f'"{identifier}"'

    def literal(self, text: str) -> str:
        if "\0" in text:
            raise ValueError("contains a NUL character, which PostgreSQL cannot store")
        escaped = text.replace("'", "''")
        return f"'{escaped}'"

    def exact_literal(self, text: str) -> str:
        return f"convert_from('\\x{text.encode().hex()}'::bytea, 'UTF8')"

    def replacing(self, columns: Sequence[str], key: Sequence[str]) -> str:
        changed = [name for name in columns if name not in key] or list(key)
        assignments = ",".join(f"{self.quoted(name)}=excluded.{self.quoted(name)}" for name in changed)
        return f" ON CONFLICT ({','.join(map(self.quoted, key))}) DO UPDATE SET {assignments}"

    def value(self, column: Column) -> str:
        return value_text(column, self.quoted(column.source_name))

    def size(self, column: Column) -> str:
        return size_text(column, self.quoted(column.source_name))

    def row(self, columns: Sequence[Column]) -> str:
        values = (f"COALESCE(char_length({text}) || ':' || ({text}), '-')" for text in map(self.value, columns))
        return f"({' || '.join(values)})"

    def digest(self, text: str) -> str:
        return f"md5(convert_to({text}, 'UTF8'))"

    def digest_number(self, digest: str) -> str:
        return f"('x' || left({digest}, 13))::bit(52)::bigint"

    def create_database(self, connection: Connection, database: str, *, drop: bool) -> None:
        connection.rollback()
        driver, name = connection.driver, self.quoted(database)
        driver.autocommit = True  # databases are not created in transactions
        try:
            if drop:
                driver.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            if not connection.rows("SELECT 1 FROM pg_database WHERE datname = %s", (database,)):
                driver.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        finally:
            driver.autocommit = False

    def run_script(self, connection: Connection, script: str) -> None:
        connection.driver.execute(script)
        connection.commit()

    def column_types(self, connection: Connection) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in connection.rows(_COLUMNS):
            found.setdefault(table, {})[column] = kind
        return found

    def clock(self, connection: Connection) -> Clock:
        if not connection.value("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"):
            raise EngineError(
                "the database's user may not see when others' transactions began, so changes could be missed: "
                "grant it the role pg_read_all_stats"
            )
        now, age_s = connection.value("SELECT clock_timestamp()"), connection.value(_OLDEST)
        return Clock(now=now, open_s=0 if age_s is None else max(0.0, age_s))

    def time_ms(self, connection: Connection) -> int:
        return int(connection.value("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"))

    def planned_rows(self, connection: Connection, name: str) -> int:
        [plan] = connection.value(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {name}")  # noqa: S608 - an identifier
        return int(plan["Plan"]["Plan Rows"])

    def log_place(self, connection: Connection) -> tuple[int, int]:
        """Return the log's end, as the last commit of a change, inside of a change to the heartbeat's row.

        The connector orders changes by the commit that it saw last. A change that is committed after this one has seen
        a commit beyond that place, even if it was written before. All that was committed before is visible.
        """
        connection.rollback()
        try:
            with connection.driver.transaction():
                beat = connection.driver.execute(f"UPDATE {HEARTBEAT_TABLE} SET at = clock_timestamp() WHERE id = 1")  # noqa: S608
                end = int(connection.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
            raise EngineError(
                f"{self.reason(error)}: these rows cannot be ordered among the source's changes; run "
                f"`millrace connector apply`, and grant the user UPDATE on {HEARTBEAT_TABLE}"
            ) from error
        if beat.rowcount != 1:
            raise EngineError(f"table {HEARTBEAT_TABLE} has no row: run `millrace connector apply`")
        self._await_commits(connection)
        return end, 0

    def _await_commits(self, connection: Connection) -> None:
        """Wait until every commit that may be in the log by now is visible."""
        running, deadline = set(connection.rows(_COMMITTING)), time.monotonic() + LOCK_WAIT_S
        while running:
            connection.rollback()  # a transaction would go on seeing the same activity
            if time.monotonic() > deadline:
                pids = ", ".join(str(pid) for pid, _ in sorted(running))
                raise EngineError(
                    f"the statement of process {pids} is changing the database for over {LOCK_WAIT_S} s, and may be "
                    "committing: wait until it has ended, and run the command again"
                )
            time.sleep(_POLL_S)
            running &= set(connection.rows(_COMMITTING))
        connection.rollback()

    def jdbc(self, settings: SourceSettings, database: str, schema: str | None) -> Mapping[str, str]:
        """Return Spark's options; the driver would set the time zone to that of the Java process."""
        place = f"{settings.host}:{settings.port}/{database}"
        return {
            "url": f"jdbc:postgresql://{place}?currentSchema={schema or DEFAULT_SCHEMA}",
            "driver": "org.postgresql.Driver",
            "user": settings.user,
            "password": settings.password,
            "sessionInitStatement": "SET TimeZone TO 'UTC'",
            **libpq_options(settings.tls, settings.ca_file),
        }
