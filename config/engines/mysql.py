"""MySQL 8 and MariaDB.

The driver's pure-Python connection is used everywhere, so that all machines behave alike, with or without the compiled
extension. The collation is set because the driver's default depends on the server, and MySQL 8's default
(utf8mb4_0900_ai_ci) is unknown to MariaDB. The SQL mode is set because a server that is not strict silently truncates
texts and zeroes dates; the chosen mode keeps backslash escapes on, which `literal` relies on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import Any, Final

from mysql.connector import Error, InterfaceError, OperationalError, errorcode
from mysql.connector.connection import MySQLConnection

from config.database_settings import DatabaseSettings
from config.definition import Column, LogicalType
from config.engines.base import CONNECT_TIMEOUT_S, SHORT_LOCK_WAIT_S, Clock, Connection, Engine, SourceSettings
from config.engines.faults import EngineError, Fault, Words

LOCK_WAIT_S: Final = 20

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"})
_needs_escape: Final = re.compile(r"['\\\0\n\r\x1a]").search
_AWAY: Final = frozenset(
    {
        errorcode.CR_CONNECTION_ERROR,
        errorcode.CR_CONN_HOST_ERROR,
        errorcode.CR_SERVER_GONE_ERROR,
        errorcode.CR_SERVER_LOST,
        errorcode.CR_SERVER_LOST_EXTENDED,
        errorcode.ER_CON_COUNT_ERROR,
        errorcode.ER_SERVER_SHUTDOWN,
    }
)
_CONNECTING: Final = frozenset({-1, None, errorcode.CR_SSL_CONNECTION_ERROR})
_FAULTS: Final = {
    errorcode.ER_ACCESS_DENIED_ERROR: Fault.LOGIN,
    errorcode.ER_BAD_DB_ERROR: Fault.NO_DATABASE,
    errorcode.ER_NO_SUCH_TABLE: Fault.NO_TABLE,
    errorcode.ER_LOCK_WAIT_TIMEOUT: Fault.LOCKED,
    errorcode.ER_LOCK_DEADLOCK: Fault.LOCKED,
    errorcode.ER_DUP_ENTRY: Fault.DUPLICATE,
}
_VALUES: Final = {
    LogicalType.BOOLEAN: "CAST({0} <> 0 AS CHAR)",
    LogicalType.DATE: "DATE_FORMAT({0}, '%Y-%m-%d')",
    LogicalType.TIMESTAMP: "DATE_FORMAT({0}, '%Y-%m-%d %H:%i:%S.%f')",
    # As a calculated number: a column may be padded with zeros (ZEROFILL), a year has four digits, and the text of a
    # FLOAT has six digits only.
    LogicalType.INTEGER: "CAST({0} + 0 AS CHAR)",
    LogicalType.BIGINT: "CAST({0} + 0 AS CHAR)",
    LogicalType.DECIMAL: "CAST({0} + 0 AS CHAR)",
    LogicalType.DOUBLE: "CAST({0} + 0e0 AS CHAR)",
    LogicalType.UUID: "CONVERT({0} USING utf8mb4)",
    LogicalType.STRING: "CONVERT({0} USING utf8mb4)",
}
_ZEROS: Final = {LogicalType.DATE: "0000-00-00", LogicalType.TIMESTAMP: "0000-00-00 00:00:00.000000"}

_KINDS: Final = {
    LogicalType.UUID: {"char", "varchar", "uuid"},
    LogicalType.STRING: {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"},
    LogicalType.INTEGER: {"tinyint", "smallint", "mediumint", "int", "year"},
    LogicalType.BIGINT: {"tinyint", "smallint", "mediumint", "int", "bigint", "year"},
    LogicalType.DECIMAL: {"decimal"},
    LogicalType.DOUBLE: {"float", "double"},
    LogicalType.BOOLEAN: {"tinyint", "bit", "boolean"},
    LogicalType.DATE: {"date"},
    LogicalType.TIMESTAMP: {"datetime", "timestamp"},
    **dict.fromkeys((LogicalType.TIME, LogicalType.INTERVAL, LogicalType.BINARY, LogicalType.ARRAY), frozenset[str]()),
}


class MySQL(Engine):
    """A MySQL or MariaDB server."""

    name = "mysql"
    schemes = ("mysql", "mariadb")
    port = 3306
    settings = DatabaseSettings
    errors = Error
    locking = "LOCK IN SHARE MODE"
    words = Words(
        login="MYSQL_USER and MYSQL_PASSWORD",
        address="MYSQL_HOST and MYSQL_PORT",
        ca="MYSQL_CA_FILE",
        rights="SELECT and PROCESS",
        no_login=r"SQLInvalidAuthorizationSpec|Access denied for user",
        away=r"SQL(Non)?TransientConnectionException|mysql\.connector\.errors\.(Interface|Operational)Error"
        r"|Lost connection to|Can't connect to|Socket error during",
    )
    kinds = _KINDS
    unbounded = frozenset({"text", "mediumtext", "longtext", "json"})

    def opened(self, settings: SourceSettings, database: str | None, schema: str | None, *, autocommit: bool) -> Any:
        return MySQLConnection(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.password,
            database=database,
            charset="utf8mb4",
            collation="utf8mb4_general_ci",
            time_zone="+00:00",
            sql_mode="TRADITIONAL",
            autocommit=autocommit,
            connection_timeout=CONNECT_TIMEOUT_S,
            **_encryption(settings),
        )

    def reopened(self, driver: Any) -> Any:
        driver.reconnect()
        return driver

    def used(self, driver: Any, database: str, schema: str | None) -> Any:
        with driver.cursor() as cursor:
            cursor.execute(f"USE {self.quoted(database)}")
        return driver

    def close(self, driver: Any) -> None:
        # Not close(): it notifies the server first, which raises or blocks when the server is gone.
        driver.disconnect() if driver.is_connected() else driver.shutdown()

    def fault(self, error: Exception) -> Fault:
        assert isinstance(error, Error)
        if error.errno in _AWAY | _CONNECTING and self.words.certificate_fault(error):
            return Fault.UNTRUSTED
        # If the driver already knows that the connection is lost, it raises an error without a number.
        unnumbered = error.errno in (-1, None) and isinstance(error, OperationalError | InterfaceError)
        if unnumbered or error.errno in _AWAY:
            return Fault.AWAY
        if error.errno in _FAULTS:
            return _FAULTS[error.errno]
        # SQL state 42: invalid statement or missing rights; 08: connection error.
        return Fault.STATEMENT if (error.sqlstate or "").startswith(("42", "08")) else Fault.OTHER

    def message(self, error: Exception) -> str:
        assert isinstance(error, Error)
        return f"{error.msg} (error {error.errno})"

    def reason(self, error: Exception) -> str:
        assert isinstance(error, Error)
        return str(error.msg)

    @contextmanager
    def consistent_snapshot(self, connection: Connection) -> Iterator[None]:
        connection.rollback()
        connection.driver.start_transaction(consistent_snapshot=True, isolation_level="REPEATABLE READ")
        try:
            yield
        finally:
            connection.rollback()

    @contextmanager
    def locking_reads(self, connection: Connection) -> Iterator[None]:
        connection.rollback()
        # READ COMMITTED locks rows that exist, and no gaps between them.
        connection.driver.start_transaction(isolation_level="READ COMMITTED")
        try:
            yield
        finally:
            connection.rollback()

    @contextmanager
    def short_lock_waits(self, connection: Connection) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {SHORT_LOCK_WAIT_S}")
        yield
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = DEFAULT")

    def quoted(self, identifier: str) -> str:
        assert _IDENTIFIER.fullmatch(identifier), identifier
        return f"`{identifier}`"

    def literal(self, text: str) -> str:
        return f"'{text.translate(_ESCAPES)}'" if _needs_escape(text) else f"'{text}'"

    def exact_literal(self, text: str) -> str:
        return f"CONVERT(X'{text.encode().hex()}' USING utf8mb4)"

    def replacing(self, columns: Sequence[str], key: Sequence[str]) -> str:
        # Not REPLACE: it deletes and inserts, so a change stream would report a deletion.
        changed = [name for name in columns if name not in key] or list(key)
        assignments = ",".join(f"{self.quoted(name)}=VALUES({self.quoted(name)})" for name in changed)
        return f" ON DUPLICATE KEY UPDATE {assignments}"

    def value(self, column: Column) -> str:
        text = _VALUES.get(column.type, "CAST({0} AS CHAR)").format(self.quoted(column.source_name))
        return f"NULLIF({text}, '{_ZEROS[column.type]}')" if column.zero_is_null else text

    def size(self, column: Column) -> str:
        return f"LENGTH({self.quoted(column.source_name)})"

    def row(self, columns: Sequence[Column]) -> str:
        texts = map(self.value, columns)
        values = (f"COALESCE(CONCAT(CHAR_LENGTH({text}), ':', {text}), '-')" for text in texts)
        return f"CONCAT({', '.join(values)})"

    def digest(self, text: str) -> str:
        return f"MD5({text})"

    def digest_number(self, digest: str) -> str:
        return f"CAST(CONV(LEFT({digest}, 13), 16, 10) AS UNSIGNED)"

    def create_database(self, connection: Connection, database: str, *, drop: bool) -> None:
        name = self.quoted(database)
        with connection.cursor() as cursor:
            # Without this, another client's open transaction could block us for a day, the server's default.
            cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}")
            if drop:
                cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")

    def run_script(self, connection: Connection, script: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(script)
            while cursor.nextset():
                pass

    def column_types(self, connection: Connection) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        columns = "SELECT table_name, column_name, data_type FROM information_schema.columns"
        for row in connection.rows(f"{columns} WHERE table_schema = DATABASE()"):
            table, column, kind = map(_text, row)
            found.setdefault(table, {})[column] = kind.lower()
        return found

    def clock(self, connection: Connection) -> Clock:
        """Read the time, and the age of the oldest open transaction.

        The age is asked for because the server reports start times in whole seconds and in its own time zone.
        """
        now = connection.value("SELECT UTC_TIMESTAMP(6)")
        # A transaction that was begun as READ ONLY, such as that of a report, cannot write any row.
        oldest = (
            "SELECT TIMESTAMPDIFF(SECOND, MIN(trx_started), NOW()) FROM information_schema.innodb_trx "
            "WHERE trx_is_read_only = 0"
        )
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION time_zone = 'SYSTEM'")
            try:
                age_s = connection.value(oldest)
            finally:
                cursor.execute("SET SESSION time_zone = '+00:00'")
        return Clock(now=now.replace(tzinfo=UTC), open_s=0 if age_s is None else max(0, int(str(age_s))) + 1)

    def time_ms(self, connection: Connection) -> int:
        return int(connection.value("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS UNSIGNED)"))

    def planned_rows(self, connection: Connection, name: str) -> int:
        return int(connection.dictionaries(f"EXPLAIN SELECT 1 FROM {name}")[0]["rows"] or 0)  # noqa: S608

    def log_place(self, connection: Connection) -> tuple[int, int]:
        try:
            found = connection.rows("SHOW MASTER STATUS")
        except Error as error:
            if error.errno != errorcode.ER_PARSE_ERROR:
                raise
            found = connection.rows("SHOW BINARY LOG STATUS")  # its name from MySQL 8.4 on
        if not found:
            raise EngineError(
                "the source has no binary log, so these rows cannot be ordered among its changes: enable log_bin"
            )
        name, pos = str(found[0][0]), int(str(found[0][1]))
        return int(name.rpartition(".")[2]), pos

    def jdbc(self, settings: SourceSettings, database: str, schema: str | None) -> Mapping[str, str]:
        """Return Spark's options; the URL's scheme and the driver differ on purpose.

        With `jdbc:mariadb`, Spark quotes column names in a way that MariaDB interprets as string literals, so each
        value would be the name of its column.
        """
        return {
            "url": f"jdbc:mysql://{settings.host}:{settings.port}/{database}?permitMysqlScheme",
            "driver": "org.mariadb.jdbc.Driver",
            "user": settings.user,
            "password": settings.password,
            "sessionInitStatement": "SET time_zone = '+00:00'",
            **({} if settings.tls == "off" else {"sslMode": settings.tls}),
            **({} if settings.ca_file is None else {"serverSslCert": str(settings.ca_file)}),
        }


def _encryption(settings: SourceSettings) -> dict[str, Any]:
    """Return the driver's arguments for TLS; without any, it encrypts if the server offers it, and checks nothing."""
    if settings.tls == "off":
        return {}
    ca = {} if settings.ca_file is None else {"ssl_ca": str(settings.ca_file)}
    return {**ca, "ssl_verify_cert": True, "ssl_verify_identity": settings.tls == "verify-full"}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes | bytearray) else str(value)
