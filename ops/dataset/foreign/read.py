"""Read the tables, columns and keys of a MySQL or MariaDB database, without changing anything."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from config.engines.base import Connection
from config.engines.postgres import HEARTBEAT_TABLE
from ops.connector.settings import SIGNAL_TABLE
from ops.mysql_schema import primary_keys, silent_references, text_rows
from stack.errors import StackError

OWN_TABLES = frozenset({HEARTBEAT_TABLE, SIGNAL_TABLE})
"""Tables that `millrace connector apply` makes in the source; they are no part of its data."""

TABLES = ("BASE TABLE", "SYSTEM VERSIONED", "PARTITIONED TABLE")


@dataclass(frozen=True, kw_only=True)
class ForeignColumn:
    """A column, as the server's information schema describes it.

    Attributes:
        data_type: name of the type, such as `int`.
        column_type: complete type, such as `int(10) unsigned`.
        length: maximum length of a text in characters.
        precision: maximum number of digits.
        scale: maximum number of digits after the decimal point.
        is_set_on_update: whether the server sets the column to the current time at every change of the row.
        is_indexed: whether the column is the first of an index.
    """

    name: str
    data_type: str
    column_type: str
    is_nullable: bool
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    is_set_on_update: bool = False
    is_indexed: bool = False
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class ForeignTable:
    """A table or view of a database.

    Attributes:
        references: tables of the database that its foreign keys reference.
        cascades: those of them whose deletions and changes the server carries on to this table's rows.
    """

    name: str
    kind: str
    columns: tuple[ForeignColumn, ...]
    key: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    cascades: tuple[str, ...] = ()
    comment: str = ""
    create_statement: str = ""

    @property
    def is_table(self) -> bool:
        """Whether this is a table, not a view, a sequence or a part of a table."""
        return self.kind in TABLES

    @property
    def is_partitioned(self) -> bool:
        """Whether the rows are in other tables, the partitions."""
        return self.kind == "PARTITIONED TABLE"


def read_tables(connection: Connection, database: str) -> list[ForeignTable]:
    """Read every table and view of a database, sorted by name.

    Raises:
        StackError: the database has no tables, or the user may not see any.
    """
    columns = _columns(connection, database, _indexed(connection, database))
    keys, references = primary_keys(connection, database), _references(connection, database)
    cascades = silent_references(connection, database)
    found = []
    for name, kind, comment in text_rows(
        connection,
        "SELECT table_name, table_type, table_comment FROM information_schema.tables WHERE table_schema = %s "
        "ORDER BY table_name",
        database,
    ):
        if name in OWN_TABLES:
            continue
        table = ForeignTable(
            name=name,
            kind=kind.upper(),
            columns=tuple(columns[name]),
            key=tuple(keys[name]),
            references=tuple(references[name]),
            cascades=tuple(cascades[name]),
            comment=comment if kind.upper() in TABLES else "",
            create_statement=_create_statement(connection, database, name) if kind.upper() in TABLES else "",
        )
        found.append(table)
    if not found:
        raise StackError(
            f"database {database!r} has no table that this user may see: check the name and the privileges"
        )
    return found


def hours_from_utc(connection: Connection) -> float:
    """Return the current offset of the server's global time zone from UTC, in hours."""
    [(zone,)] = text_rows(connection, "SELECT @@session.time_zone")
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = @@global.time_zone")
        try:
            [(seconds,)] = text_rows(connection, "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())")
        finally:
            cursor.execute("SET SESSION time_zone = %s", (zone,))
    return int(seconds) / 3600


def _columns(
    connection: Connection, database: str, indexed: set[tuple[str, str]]
) -> defaultdict[str, list[ForeignColumn]]:
    found: defaultdict[str, list[ForeignColumn]] = defaultdict(list)
    for table, name, data_type, column_type, nullable, length, precision, scale, extra, comment in text_rows(
        connection,
        "SELECT table_name, column_name, data_type, column_type, is_nullable, character_maximum_length, "
        "numeric_precision, numeric_scale, extra, column_comment "
        "FROM information_schema.columns WHERE table_schema = %s ORDER BY table_name, ordinal_position",
        database,
    ):
        column = ForeignColumn(
            name=name,
            data_type=data_type.lower(),
            column_type=column_type.lower(),
            is_nullable=nullable == "YES",
            length=None if length is None else int(length),
            precision=None if precision is None else int(precision),
            scale=None if scale is None else int(scale),
            is_set_on_update="on update current_timestamp" in extra.lower(),
            is_indexed=(table, name) in indexed,
            comment=comment,
        )
        found[table].append(column)
    return found


def _indexed(connection: Connection, database: str) -> set[tuple[str, str]]:
    found = text_rows(
        connection,
        "SELECT table_name, column_name FROM information_schema.statistics "
        "WHERE table_schema = %s AND seq_in_index = 1",
        database,
    )
    return {(table, column) for table, column in found}


def _references(connection: Connection, database: str) -> defaultdict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for table, parent in text_rows(
        connection,
        "SELECT DISTINCT table_name, referenced_table_name FROM information_schema.key_column_usage "
        "WHERE table_schema = %s AND referenced_table_schema = table_schema ORDER BY 1, 2",
        database,
    ):
        found[table].append(parent)
    return found


def _create_statement(connection: Connection, database: str, table: str) -> str:
    names = ".".join("`{}`".format(name.replace("`", "``")) for name in (database, table))
    [(_, statement)] = text_rows(connection, f"SHOW CREATE TABLE {names}")
    return str(statement)
