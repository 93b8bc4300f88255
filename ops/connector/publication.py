"""Prepare a PostgreSQL database for its connector: the tables that it needs, the publication, its account's rights.

The connector's account owns nothing and is no superuser, so the owner of the tables makes all this. What only an
administrator can change is named with its remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from config.definition import Definition, Table
from config.engines.base import Connection
from config.engines.postgres import HEARTBEAT_TABLE
from config.engines.postgres_types import CURE, REFUSED
from config.naming import source_schema
from ops.connector.settings import SIGNAL_TABLE
from stack.errors import StackError

_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS {{schema}}.{HEARTBEAT_TABLE} (id integer PRIMARY KEY, at timestamptz NOT NULL);
INSERT INTO {{schema}}.{HEARTBEAT_TABLE} VALUES (1, clock_timestamp()) ON CONFLICT (id) DO NOTHING;
CREATE TABLE IF NOT EXISTS {{schema}}.{SIGNAL_TABLE} (id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data text);
ALTER TABLE {{schema}}.{SIGNAL_TABLE} REPLICA IDENTITY FULL;
GRANT USAGE ON SCHEMA {{schema}} TO {{user}};
GRANT SELECT, UPDATE ON {{schema}}.{HEARTBEAT_TABLE} TO {{user}};
GRANT SELECT, INSERT, DELETE ON {{schema}}.{SIGNAL_TABLE} TO {{user}};
"""  # noqa: S608 - quoted identifiers

_KEYS: Final = """
SELECT c.relname, c.relkind, c.relreplident,
  (SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum))
   FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
   WHERE i.indrelid = c.oid AND i.indisprimary)
FROM pg_class AS c WHERE c.relnamespace = %s::regnamespace AND c.relname = ANY (%s)
"""


def prepare_source(connection: Connection, definition: Definition, *, slot: str, user: str) -> list[str]:
    """Make what the connector needs in the dataset's database; may be repeated.

    Args:
        connection: a connection of the tables' owner to the dataset's database.
        slot: name of the slot, which is that of the publication as well.
        user: the connector's account.

    Returns:
        What was changed, one line each.

    Raises:
        StackError: something is missing that only an administrator can change; one line each, with the remedy.
    """
    faults = [*server_faults(connection, slot=slot, user=user), *table_faults(connection, definition)]
    faults += type_faults(connection, definition)
    connection.rollback()
    if faults:
        raise StackError("\n".join(faults))
    quoted = connection.engine.quoted
    schema, account = quoted(source_schema(definition)), quoted(user)
    with connection.cursor() as cursor:
        cursor.execute(_TABLES.format(schema=schema, user=account))
        for table in definition.tables:
            cursor.execute(f"GRANT SELECT ON {schema}.{quoted(table.name)} TO {account}")
    changed = publish(connection, definition, slot)
    connection.commit()
    return changed


def server_faults(connection: Connection, *, slot: str, user: str) -> Iterator[str]:
    """List what the server or the connector's account lacks, each with the remedy."""
    level = connection.value("SELECT current_setting('wal_level')")
    if level != "logical":
        yield (
            f"wal_level is {level!r}, so changes cannot be read: run ALTER SYSTEM SET wal_level = 'logical', then "
            "restart the server"
        )
    may_replicate = connection.rows("SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = %s", (user,))
    if not may_replicate:
        yield f"there is no account {user!r} for the connector: run CREATE ROLE {user} LOGIN REPLICATION PASSWORD '…'"
    elif not may_replicate[0][0]:
        yield f"the connector's account may not read the log: run ALTER ROLE {user} REPLICATION"
    there, used, most = connection.rows(
        "SELECT count(*) FILTER (WHERE slot_name = %s), count(*), current_setting('max_replication_slots')::int "
        "FROM pg_replication_slots",
        (slot,),
    )[0]
    if not there and used >= most:
        yield (
            f"all {most} replication slots are in use: drop those that nobody reads with pg_drop_replication_slot, or "
            "raise max_replication_slots and restart the server"
        )


def table_faults(connection: Connection, definition: Definition) -> Iterator[str]:
    """List the tables whose changes could not be read whole, each with the remedy."""
    schema = source_schema(definition)
    names = [table.name for table in definition.tables]
    found = {name: rest for name, *rest in connection.rows(_KEYS, (connection.engine.quoted(schema), names))}
    for table in definition.tables:
        shown = f"{schema}.{table.name}"
        if table.name not in found:
            yield f"table {shown} does not exist: run `millrace dataset init`, or give its new name in the definition"
            continue
        kind, identity, key = found[table.name]
        if kind != "r":
            yield f"{shown} is no ordinary table, and only those can be captured: leave it out of the definition"
        elif identity != "f":
            yield (
                f"table {shown} logs only the key of a deleted row, and no large values that a change left alone: run "
                f"ALTER TABLE {shown} REPLICA IDENTITY FULL"
            )
        if kind == "r" and key is None:
            yield f"table {shown} has no primary key: add one, or leave the table out of the definition"
        elif kind == "r" and not _same_key(table, key):
            columns = ", ".join(key)
            yield f"table {shown}: its primary key is ({columns}), but the definition's key is ({', '.join(table.key)})"


def type_faults(connection: Connection, definition: Definition) -> Iterator[str]:
    """List the columns that are missing, or whose values the connector and the database write differently."""
    kinds, types = connection.engine.kinds, connection.engine.column_types(connection)
    for table in definition.tables:
        known = types.get(table.name, {})
        for column in table.columns if known else ():
            shown, kind = f"column {table.name}.{column.name}", known.get(column.name)
            if kind is None:
                yield f"{shown} does not exist: remove it from the definition"
            elif kind in REFUSED:
                yield f"{shown} has type {kind}: {REFUSED[kind]}; or {CURE}"
            elif kind not in kinds[column.type]:
                fitting = [name for name, those in kinds.items() if kind in those]
                cure = f"write {' or '.join(fitting)}" if fitting else CURE
                yield f"{shown} has type {kind}, which is not read as {column.type}: {cure}"


def _same_key(table: Table, key: Sequence[str]) -> bool:
    return set(key) == set(table.key)


def unpublished(connection: Connection, definition: Definition, publication: str) -> list[str]:
    """Return the tables of the dataset, and the connector's own, whose changes are not published."""
    return sorted(_to_publish(definition) - _published(connection, source_schema(definition), publication))


def _to_publish(definition: Definition) -> set[str]:
    return {table.name for table in definition.tables} | {HEARTBEAT_TABLE, SIGNAL_TABLE}


def _published(connection: Connection, schema: str, publication: str) -> set[str]:
    query = "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = %s"
    return {name for place, name in connection.rows(query, (publication,)) if place == schema}


def publish(connection: Connection, definition: Definition, publication: str) -> list[str]:
    """Make the publication of the dataset's tables and the connector's own, or change it; return what was changed."""
    quoted, schema = connection.engine.quoted, source_schema(definition)
    wanted = _to_publish(definition)
    tables = ", ".join(f"{quoted(schema)}.{quoted(name)}" for name in sorted(wanted))
    known = connection.rows(
        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname = %s",
        (publication,),
    )
    published = _published(connection, schema, publication)
    with connection.cursor() as cursor:
        if not known:
            cursor.execute(f"CREATE PUBLICATION {quoted(publication)} FOR TABLE {tables}")
            return [f"publication {publication} created"]
        if published != wanted:
            cursor.execute(f"ALTER PUBLICATION {quoted(publication)} SET TABLE {tables}")
        if not known[0][0]:
            cursor.execute(
                f"ALTER PUBLICATION {quoted(publication)} SET (publish = 'insert, update, delete, truncate')"
            )
    missing = ", ".join(sorted(wanted - published))
    return [f"publication {publication} changed" + (f": it lacked {missing}" if missing else "")] * (
        published != wanted or not known[0][0]
    )
