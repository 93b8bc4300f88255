"""What `millrace connector apply` asks of a MySQL or MariaDB source before its connector is created."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

from config.database_settings import DatabaseSettings
from config.definition import Definition, Table
from config.engines.base import Connection
from config.settings import ConnectSettings
from ops.database import connected
from ops.mysql_schema import primary_keys, reference_warning, silent_references
from stack.errors import StackError

KEY_SETTING: Final = "message.key.columns"


def check_source(definition: Definition, environment: Mapping[str, str]) -> list[str]:
    """Hold the definition's keys against those of the tables; return warnings.

    Raises:
        StackError: the connector would fail at its first record, because its keys lack a column; one line per table.
    """
    if "MYSQL_HOST" not in environment:
        return ["the definition's keys were not compared with the tables, because MYSQL_HOST is not set"]
    with connected(DatabaseSettings.read(environment), definition.database) as connection:
        faults = list(key_faults(definition, primary_keys(connection, definition.database)))
        if faults:
            raise StackError("\n".join(faults))
        return list(_warnings(connection, definition))


def encryption_warnings(settings: ConnectSettings) -> Iterator[str]:
    """Name an address with which the reader of the log would find another host in the server's certificate.

    It compares the name to which Connect's machine resolves the address, and knows no addresses in certificates.
    """
    host = settings.database_host or ""
    if settings.database_tls == "verify-full" and _is_address(host):
        yield (
            f"the reader of the log does not find the address {host} in a certificate, but the name that Connect's "
            "machine gives it: if it refuses the server's identity, set CONNECTOR_DATABASE_HOST to the server's name"
        )


def key_faults(definition: Definition, keys: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """List the tables whose records would have other keys than the definition says, each with the remedy.

    Args:
        keys: columns of each table's primary key.
    """
    for table in definition.tables:
        named = _named_columns(definition, table)
        key = tuple(keys.get(table.name, ())) if named is None else named
        if set(key) == set(table.key):
            continue
        shown = f"table {table.name}: the definition's key is ({', '.join(table.key)}), but "
        setting = f"{KEY_SETTING}: {definition.database}.{table.name}:{','.join(table.key)}"
        if named is not None:
            yield f"{shown}{KEY_SETTING} gives its records the key ({', '.join(key)}): make them equal"
        elif not key:
            yield f"{shown}the table has no primary key: add one, or set `{setting}` under `connector`"
        else:
            yield (
                f"{shown}its primary key is ({', '.join(key)}), which becomes the key of its records: name that one in "
                f"the definition, or set `{setting}` under `connector`, if these columns are unique too"
            )


def log_faults(connection: Connection) -> Iterator[str]:
    """List what the server's log lacks for a connector, each with the remedy."""
    [(is_logged, form, image)] = connection.rows("SELECT @@log_bin, @@binlog_format, @@binlog_row_image")
    if not is_logged:
        yield "the server writes no binary log, so changes cannot be read: set log_bin and restart it"
    elif form != "ROW":
        yield f"binlog_format is {form}, so changes cannot be read: set it to ROW"
    elif image != "FULL":
        yield f"binlog_row_image is {image}, so changes lack columns: set it to FULL"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _named_columns(definition: Definition, table: Table) -> tuple[str, ...] | None:
    """Return the columns that the connector's settings name as key of a table; None if they name none."""
    for entry in filter(None, definition.connector.get(KEY_SETTING, "").split(";")):
        tables, _, columns = entry.rpartition(":")
        if any(re.fullmatch(each.strip(), f"{definition.database}.{table.name}") for each in tables.split(",")):
            return tuple(column.strip() for column in columns.split(","))
    return None


def _warnings(connection: Connection, definition: Definition) -> Iterator[str]:
    references = silent_references(connection, definition.database)
    for table in definition.tables:
        if table.name in references:
            yield f"table {table.name}: {reference_warning(references[table.name])}"
