"""What the program asks of a kind of source database: the one object that holds its SQL, its driver and its words.

An engine has no state. A `Connection` knows the engine that opened it, so a function that has a connection can build
statements for it. Everything else of a dataset is the same for all engines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

from config.definition import Column, LogicalType
from config.engines.faults import Fault, Words

CONNECT_TIMEOUT_S = 5
SHORT_LOCK_WAIT_S = 5

COUNTED_ROWS = 10_000
"""Estimated number of rows up to which a table is counted: statistics of small tables are often missing or far off."""


class SourceSettings(Protocol):
    """Address of a source database, a login, and how connections are encrypted; `engine` is the name of its engine."""

    engine: ClassVar[str]

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def tls(self) -> str: ...
    @property
    def ca_file(self) -> Path | None: ...


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The database's time, and how long the oldest open transaction has been open (rounded up), in seconds."""

    now: datetime
    open_s: float


class Connection:
    """An open connection, and the engine that opened it."""

    def __init__(self, engine: Engine, driver: Any) -> None:
        self.engine = engine
        self.driver = driver
        """The driver's own connection."""

    def cursor(self) -> Any:
        """Return a cursor of the driver, which closes itself at the end of a `with` block."""
        return self.driver.cursor()

    def quoted(self, identifier: str) -> str:
        """Quote an identifier."""
        return self.engine.quoted(identifier)

    def commit(self) -> None:
        """Commit the open transaction."""
        self.driver.commit()

    def rollback(self) -> None:
        """Roll the open transaction back."""
        self.driver.rollback()

    def use(self, database: str, schema: str | None = None) -> None:
        """Go on in another database of the server; outside of a transaction."""
        self.driver = self.engine.used(self.driver, database, schema)

    def reconnect(self) -> None:
        """Connect again, to the same database with the same login, after the connection was lost."""
        self.driver = self.engine.reopened(self.driver)

    def close(self) -> None:
        """Close the connection, without waiting for a server that is gone."""
        self.engine.close(self.driver)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement and return its rows."""
        with self.cursor() as cursor:
            cursor.execute(statement, tuple(values) or None)
            found: list[Any] = cursor.fetchall()
            return found

    def value(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run a statement and return the only value of its only row."""
        ((found,),) = self.rows(statement, values)
        return found

    def dictionaries(self, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run a statement and return its rows by the names of their columns."""
        with self.cursor() as cursor:
            cursor.execute(statement, tuple(values) or None)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


class Engine(ABC):
    """A kind of source database.

    Attributes:
        name: name in definitions.
        schemes: schemes of URLs that name a database of this kind.
        port: the server's usual port.
        settings: group of settings with address and login.
        errors: base class of the driver's errors.
        kinds: names of the database's types that can be read as each logical type.
        unbounded: names of the database's types whose values may be long, from some ten thousand bytes to gigabytes.
        locking: end of a query that waits for changes that are being committed.
    """

    name: ClassVar[str]
    schemes: ClassVar[tuple[str, ...]]
    port: ClassVar[int]
    settings: ClassVar[type[Any]]
    errors: ClassVar[type[Exception]]
    words: ClassVar[Words]
    kinds: ClassVar[Mapping[LogicalType, Collection[str]]]
    unbounded: ClassVar[Collection[str]]
    locking: ClassVar[str]

    def login(self, environment: Mapping[str, str] | None = None) -> SourceSettings:
        """Read the settings of the database, by default from this process's environment."""
        found: SourceSettings = self.settings.read(environment)
        return found

    # Connections

    def connect(
        self, settings: SourceSettings, database: str | None, schema: str | None = None, *, autocommit: bool = False
    ) -> Connection:
        """Connect with time zone UTC; without `database`, to the server only.

        Raises:
            errors: the server cannot be reached or rejects the login.
        """
        return Connection(self, self.opened(settings, database, schema, autocommit=autocommit))

    @abstractmethod
    def opened(self, settings: SourceSettings, database: str | None, schema: str | None, *, autocommit: bool) -> Any:
        """Return a new connection of the driver."""

    @abstractmethod
    def reopened(self, driver: Any) -> Any:
        """Return a connection of the driver like the one that was lost."""

    @abstractmethod
    def used(self, driver: Any, database: str, schema: str | None) -> Any:
        """Return a connection of the driver in another database: the same one, or a new one that replaces it."""

    @abstractmethod
    def close(self, driver: Any) -> None:
        """Close a connection of the driver, without waiting for a server that is gone."""

    @abstractmethod
    def fault(self, error: Exception) -> Fault:
        """Return the kind of an error of the driver."""

    @abstractmethod
    def message(self, error: Exception) -> str:
        """Return the server's or the driver's message, with the error's number or state."""

    @abstractmethod
    def reason(self, error: Exception) -> str:
        """Return the server's message only, which says what is wrong with a row."""

    @abstractmethod
    def consistent_snapshot(self, connection: Connection) -> AbstractContextManager[None]:
        """Let all queries of the block see the same state of the database, that of the block's beginning."""

    @abstractmethod
    def locking_reads(self, connection: Connection) -> AbstractContextManager[None]:
        """Let queries of the block that end in `locking` see the newest commits, and wait for those being made."""

    @abstractmethod
    def short_lock_waits(self, connection: Connection) -> AbstractContextManager[None]:
        """Let queries of the block wait for another connection's locks for `SHORT_LOCK_WAIT_S` seconds only."""

    @contextmanager
    def savepoint(self, connection: Connection) -> Iterator[None]:
        """Let the transaction go on if a statement of the block is refused."""
        yield

    # Texts of statements

    @abstractmethod
    def quoted(self, identifier: str) -> str:
        """Quote an identifier; definitions allow only letters, digits and underscores."""

    @abstractmethod
    def literal(self, text: str) -> str:
        """Quote a text as a literal, for bulk statements, in which binding each value would be too slow.

        Raises:
            ValueError: the database cannot store the text; the message is the reason.
        """

    @abstractmethod
    def exact_literal(self, text: str) -> str:
        """Write a text as a literal whose meaning no setting of the server can change."""

    @abstractmethod
    def replacing(self, columns: Sequence[str], key: Sequence[str]) -> str:
        """Return the end of an INSERT that updates the row whose key exists."""

    @abstractmethod
    def value(self, column: Column) -> str:
        """Return an expression for a value's canonical text (`batch.storage.canonical`); NULL stays NULL."""

    @abstractmethod
    def size(self, column: Column) -> str:
        """Return an expression for the number of bytes of a value of an unbounded type; NULL stays NULL."""

    @abstractmethod
    def row(self, columns: Sequence[Column]) -> str:
        """Return an expression for a row's canonical text."""

    @abstractmethod
    def digest(self, text: str) -> str:
        """Return an expression for the MD5 of a text, as hexadecimal digits."""

    @abstractmethod
    def digest_number(self, digest: str) -> str:
        """Return an expression for the first 52 bits of such a digest, as a number."""

    # Questions to a database

    @abstractmethod
    def create_database(self, connection: Connection, database: str, *, drop: bool) -> None:
        """Create the database if it is missing; with `drop`, remove it first."""

    @abstractmethod
    def run_script(self, connection: Connection, script: str) -> None:
        """Run the statements of a script, and commit them."""

    @abstractmethod
    def column_types(self, connection: Connection) -> dict[str, dict[str, str]]:
        """Return the type of each column of each table in the connection's database, keyed by table and column."""

    @abstractmethod
    def clock(self, connection: Connection) -> Clock:
        """Read the database's time, and then the age of the oldest open transaction.

        A transaction that begins later also writes later times.

        Raises:
            EngineError: the user may not see the transactions of others.
        """

    @abstractmethod
    def time_ms(self, connection: Connection) -> int:
        """Return the database's time, in milliseconds since 1970."""

    def estimated_rows(self, connection: Connection, table: str) -> int:
        """Return about how many rows a table has, by the database's statistics; a small table is counted."""
        name = self.quoted(table)
        estimated = self.planned_rows(connection, name)
        return estimated if estimated > COUNTED_ROWS else int(connection.value(f"SELECT COUNT(*) FROM {name}"))  # noqa: S608

    @abstractmethod
    def planned_rows(self, connection: Connection, name: str) -> int:
        """Return how many rows the database expects when it plans a query of a whole table, given its quoted name."""

    @abstractmethod
    def log_place(self, connection: Connection) -> tuple[int, int]:
        """Return the place in the log for rows that are read from now on, as the second and third part of a position.

        Every change that is committed from now on has a higher position.

        Raises:
            EngineError: the database writes no log that could be read.
        """

    @abstractmethod
    def jdbc(self, settings: SourceSettings, database: str, schema: str | None) -> Mapping[str, str]:
        """Return Spark's options for reading over JDBC, except the query."""
