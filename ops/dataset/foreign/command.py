"""`millrace dataset init URL`: create a dataset's folder from an existing database."""

from __future__ import annotations

import argparse
import re
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from config.dataset import DEFINITION_FILE, SCHEMA_FILE, SHIPPED, datasets_folder, load_definition_file
from config.definition import RESERVED_LAKE_FOLDERS
from config.engines import ENGINES
from config.engines.base import Engine, SourceSettings
from config.engines.postgres_connection import DEFAULT_SCHEMA
from config.settings import environment_over
from ops.database import connected
from ops.dataset.foreign.dialect import DIALECTS
from ops.dataset.foreign.draft import TableDraft, drafts
from ops.dataset.foreign.read import ForeignTable, hours_from_utc, read_tables
from ops.dataset.foreign.read_postgres import read_postgres_tables
from ops.dataset.foreign.text import capture_text, definition_text, postgres_schema_text, schema_text
from stack.errors import StackError

CAPTURE_FILE = "capture.sql"
_FORM = "mysql://user@host:port/database or postgres://user@host:port/database"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Address of a database; `user` is None if the URL names no user."""

    engine: Engine
    host: str
    port: int
    user: str | None
    database: str


def add_options(parser: Any) -> None:
    """Add the options for `dataset init URL`."""
    parser.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help="existing database, mysql://user@host:port/database or postgres://user@host:port/database: draft a "
        "dataset folder from its schema, named by --dataset or after the database; the password is read from "
        "MYSQL_PASSWORD or PGPASSWORD",
    )
    parser.add_argument("--force", action="store_true", help="with URL: overwrite an existing folder")
    parser.add_argument(
        "--feed",
        choices=("jdbc", "changes"),
        help="with URL: the lake reads the tables themselves (jdbc, the default), or their archived changes",
    )
    parser.add_argument(
        "--schema", help="with the URL of a PostgreSQL database: schema of the tables (default: public)"
    )
    parser.add_argument(
        "--leave-out-columns",
        type=_columns,
        metavar="TABLE.COLUMN,…",
        help="with URL: columns to leave out, besides those that a definition can't have",
    )


def run(arguments: argparse.Namespace) -> int:
    """Read the schema, write the dataset's folder, and report which tables were included and which were left out."""
    _refuse_contradictions(arguments)
    address = parse_address(arguments.url)
    name = _chosen_name(arguments.dataset or address.database.lower())
    schema = _chosen_schema(address, arguments.schema)
    folder = datasets_folder() / name
    if folder.exists() and not arguments.force:
        raise StackError(f"{folder} already exists: use --force to overwrite the files of an earlier draft")
    source = _read(address, schema)
    unwanted = arguments.leave_out_columns or ()
    _require_columns(source.tables, unwanted)
    feed = arguments.feed or "jdbc"
    dialect = DIALECTS[address.engine.name]
    found = drafts(source.tables, is_utc=source.is_utc, dialect=dialect, feed=feed, unwanted=unwanted)
    require_tables(address, found)
    write_folder(folder, _texts(name, address, schema, source.tables, found))
    print("\n".join([*report(found), f"wrote {folder}: review {DEFINITION_FILE}, then run"]))
    print("\n".join(next_commands(name, folder, feed, source.kind)))
    return 0


def refuse_without_url(arguments: argparse.Namespace) -> None:
    """Raise `StackError` if an option that concerns a draft is given without a URL."""
    options = {
        "--force": arguments.force,
        "--feed": arguments.feed,
        "--schema": arguments.schema,
        "--leave-out-columns": arguments.leave_out_columns,
    }
    given = [name for name, value in options.items() if value]
    if given:
        raise StackError(f"{', '.join(given)} can be used only with a URL, from which a folder is drafted")


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    if arguments.drop:
        raise StackError("--drop cannot be used with a URL: it applies only to the dataset's own database")
    if arguments.name:
        raise StackError("--name cannot be used with a URL: the URL already names the server")


def _chosen_schema(address: Address, schema: str | None) -> str | None:
    """Return the schema in which the tables are; None for an engine without schemas."""
    if address.engine.name != "postgres":
        if schema is not None:
            raise StackError("--schema can be used only with the URL of a PostgreSQL database")
        return None
    chosen = schema or DEFAULT_SCHEMA
    if not _IDENTIFIER.fullmatch(chosen):
        raise StackError(f"a definition can't name the schema {chosen!r}: only A–Z, a–z, 0–9 and _ are supported")
    return chosen


def _chosen_name(name: str) -> str:
    if name in RESERVED_LAKE_FOLDERS:
        raise StackError(
            f"{name!r} can't be a dataset's name, because the lake uses this folder: choose one with --dataset"
        )
    if not _NAME.fullmatch(name):
        raise StackError(
            f"{name!r} can't be a dataset's name: use --dataset with a–z, 0–9 and _, starting with a letter"
        )
    return name


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was read of a database.

    Attributes:
        is_utc: whether its times without a zone are in UTC, as far as it says so.
        kind: the connector that it needs if that is not the default: `mysql`.
    """

    tables: list[ForeignTable]
    is_utc: bool
    kind: str | None = None


def _read(address: Address, schema: str | None) -> Source:
    settings = login(address, environment_over({}))
    with connected(settings, address.database, schema) as connection:
        if schema is not None:
            return Source(tables=read_postgres_tables(connection, schema), is_utc=True)
        tables = read_tables(connection, address.database)
        is_mariadb = "mariadb" in str(connection.value("SELECT VERSION()")).lower()
        is_utc = hours_from_utc(connection) == 0
        return Source(tables=tables, is_utc=is_utc, kind=None if is_mariadb else "mysql")


def _texts(
    name: str, address: Address, schema: str | None, tables: list[ForeignTable], found: list[TableDraft]
) -> dict[str, str]:
    definition = definition_text(name, address.database, found, engine=address.engine.name, schema=schema)
    return {
        DEFINITION_FILE: definition,
        SCHEMA_FILE: schema_text(tables) if schema is None else postgres_schema_text(tables, found, schema),
        CAPTURE_FILE: capture_text(address.database, found, schema=schema),
    }


def next_commands(name: str, folder: Path, feed: str, kind: str | None = None) -> list[str]:
    """List the commands that take a drafted dataset to its lake; they need the settings of the servers.

    Args:
        kind: the connector that the database needs if that is not the default.
    """
    own = [] if folder.parent == SHIPPED else [f"export DATASETS_DIR={shlex.quote(str(folder.parent.absolute()))}"]
    capture = [
        *([] if kind is None else [f"export CONNECTOR_DATABASE_KIND={kind}"]),
        f"# on the source, as its administrator or owner: {folder / CAPTURE_FILE}",
        "millrace topics apply",
        "millrace connector apply --wait-snapshot",
        "millrace worker archive --web-port 6071    # it goes on: run the rest in another shell",
    ]
    lake = ["millrace lake run", "millrace lake reconcile"]
    lines = [*own, f"export DATASET={name}", *(capture if feed == "changes" else []), *lake]
    return [f"  {line}" for line in lines]


def parse_address(url: str) -> Address:
    """Parse the URL of a database.

    Raises:
        StackError: the URL is invalid or contains a password, which the message does not repeat.
    """
    try:
        parts = urlsplit(url)
        engine = next((engine for engine in ENGINES.values() if parts.scheme in engine.schemes), None)
        port = parts.port
    except ValueError:
        raise StackError(f"the URL's host or port is wrong: use {_FORM}") from None
    if parts.password is not None:
        raise StackError(
            "leave the password out of the URL, where others can see it: set MYSQL_PASSWORD or PGPASSWORD instead"
        )
    database = unquote(parts.path.removeprefix("/"))
    if engine is None or not parts.hostname or parts.query or parts.fragment:
        raise StackError(f"the URL must have the form {_FORM}")
    if not _IDENTIFIER.fullmatch(database):
        raise StackError(f"a definition can't name the database {database!r}: only A–Z, a–z, 0–9 and _ are supported")
    user = unquote(parts.username) if parts.username else None
    return Address(engine=engine, host=parts.hostname, port=port or engine.port, user=user, database=database)


def login(address: Address, environment: Mapping[str, str]) -> SourceSettings:
    """Build the login from `environment` only, so that the password of a local stack is not sent to another server."""
    prefix = "PG" if address.engine.name == "postgres" else "MYSQL_"
    place = {f"{prefix}HOST": address.host, f"{prefix}PORT": str(address.port)}
    user = {f"{prefix}USER": address.user} if address.user else {}
    return address.engine.login({**environment, **place, **user})


def _columns(text: str) -> tuple[tuple[str, str], ...]:
    """Parse `table.column,table.column`."""
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        table, point, column = item.partition(".")
        if not (table and point and column):
            raise argparse.ArgumentTypeError(f"{item!r} names no column of a table: use TABLE.COLUMN,…")
        found.append((table, column))
    return tuple(found)


def _require_columns(tables: list[ForeignTable], unwanted: tuple[tuple[str, str], ...]) -> None:
    """Raise `StackError` if a column that is to be left out does not exist, or belongs to a key."""
    by_name = {table.name: table for table in tables}
    for name, column in unwanted:
        table = by_name.get(name)
        if table is None or column not in {each.name for each in table.columns}:
            raise StackError(f"--leave-out-columns: there is no column {name}.{column}")
        if column in table.key:
            raise StackError(f"--leave-out-columns: {name}.{column} is part of the key, which identifies the rows")


def require_tables(address: Address, found: list[TableDraft]) -> None:
    """Raise `StackError` if every table was left out, because a dataset needs at least one table."""
    if all(draft.table is None for draft in found):
        raise StackError("\n".join([f"no table of {address.database} can be part of a dataset:", *report(found)]))


def report(found: list[TableDraft]) -> list[str]:
    """Format one line per included table, and one per reason for leaving a table out."""
    lines = []
    for draft in found:
        if draft.table is None:
            lines += [f"left out  {draft.name!r}: {reason}" for reason in draft.reasons]
        else:
            key, cursor = ", ".join(draft.table.key), draft.table.cursor or "none: read in full"
            lines += [f"included  {draft.name}: {len(draft.table.columns)} columns, key {key}, cursor {cursor}"]
            lines += [f"without   {draft.name}.{column}: {reason}" for column, reason in draft.without]
            lines += [f"warning   {draft.name}: {remark}" for remark in draft.warnings]
    return lines


def write_folder(folder: Path, texts: Mapping[str, str]) -> None:
    """Check that the definition is valid, then write the files; other files in the folder are kept."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        for file, text in texts.items():
            (Path(temporary) / file).write_text(text, "utf-8")
        load_definition_file(Path(temporary) / DEFINITION_FILE)
        folder.mkdir(exist_ok=True)
        for file in texts:
            (Path(temporary) / file).replace(folder / file)
