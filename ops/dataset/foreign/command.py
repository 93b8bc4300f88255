"""`millrace dataset init URL`: create a dataset's folder from an existing database."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from config.dataset import DEFINITION_FILE, SCHEMA_FILE, datasets_folder, load_definition_file
from config.definition import RESERVED_LAKE_FOLDERS
from config.settings import DatabaseSettings, environment_over
from ops.database import connected
from ops.dataset.foreign.draft import TableDraft, drafts
from ops.dataset.foreign.read import hours_from_utc, read_tables
from ops.dataset.foreign.text import definition_text, schema_text
from stack.errors import StackError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Address of a database; `user` is None if the URL names no user."""

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
        help="existing database, mysql://user@host:port/database: draft a dataset folder from its schema, "
        "named by --dataset or after the database; the password is read from MYSQL_PASSWORD",
    )
    parser.add_argument("--force", action="store_true", help="with URL: overwrite an existing folder")


def run(arguments: argparse.Namespace) -> int:
    """Read the schema, write the dataset's folder, and report which tables were included and which were left out."""
    if arguments.drop:
        raise StackError("--drop cannot be used with a URL: it applies only to the dataset's own database")
    if arguments.name:
        raise StackError("--name cannot be used with a URL: the URL already names the server")
    address = parse_address(arguments.url)
    name = arguments.dataset or address.database.lower()
    if name in RESERVED_LAKE_FOLDERS:
        raise StackError(
            f"{name!r} can't be a dataset's name, because the lake uses this folder: choose one with --dataset"
        )
    if not _NAME.fullmatch(name):
        raise StackError(
            f"{name!r} can't be a dataset's name: use --dataset with a–z, 0–9 and _, starting with a letter"
        )
    folder = datasets_folder() / name
    if folder.exists() and not arguments.force:
        raise StackError(f"{folder} already exists: use --force to overwrite its {DEFINITION_FILE} and {SCHEMA_FILE}")
    settings = login(address, environment_over({}))
    with connected(settings, address.database) as connection:
        tables = read_tables(connection, address.database)
        found = drafts(tables, is_utc=hours_from_utc(connection) == 0)
    require_tables(address, found)
    texts = {DEFINITION_FILE: definition_text(name, address.database, found), SCHEMA_FILE: schema_text(tables)}
    write_folder(folder, texts)
    then = f"review {DEFINITION_FILE}, then run `millrace lake run --dataset {name}`"
    print("\n".join([*report(found), f"wrote {folder}: {then}"]))
    return 0


def parse_address(url: str) -> Address:
    """Parse the URL of a database.

    Raises:
        StackError: the URL is invalid or contains a password, which the message does not repeat.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 3306
    except ValueError:
        raise StackError("the URL's host or port is wrong: use mysql://user@host:port/database") from None
    if parts.password is not None:
        raise StackError("leave the password out of the URL, where others can see it: set MYSQL_PASSWORD instead")
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in ("mysql", "mariadb") or not parts.hostname or parts.query or parts.fragment:
        raise StackError("the URL must have the form mysql://user@host:port/database")
    if not _IDENTIFIER.fullmatch(database):
        raise StackError(f"a definition can't name the database {database!r}: only A–Z, a–z, 0–9 and _ are supported")
    user = unquote(parts.username) if parts.username else None
    return Address(host=parts.hostname, port=port, user=user, database=database)


def login(address: Address, environment: Mapping[str, str]) -> DatabaseSettings:
    """Build the login from `environment` only, so that the password of a local stack is not sent to another server."""
    user = {"MYSQL_USER": address.user} if address.user else {}
    place = {"MYSQL_HOST": address.host, "MYSQL_PORT": str(address.port)}
    return DatabaseSettings.read({**environment, **place, **user})


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
