"""Create a dataset's database and tables, and verify that the tables match the definition."""

from __future__ import annotations

from pathlib import Path

from config.dataset import SCHEMA_FILE
from config.definition import Definition
from config.engines.base import Connection
from stack.errors import StackError


def create_schema(connection: Connection, definition: Definition, *, drop: bool = False) -> None:
    """Create the database and its tables if they don't exist; with `drop`, first remove the database and all rows.

    Raises:
        StackError: the schema file is missing, or a table's columns differ from the definition.
    """
    path = Path(definition.folder) / SCHEMA_FILE
    try:
        script = path.read_text("utf-8")
    except OSError as error:
        raise StackError(f"can't read {path}: {error.strerror}") from error
    connection.engine.create_database(connection, definition.database, drop=drop)
    connection.use(definition.database, definition.schema)
    connection.engine.run_script(connection, script)
    verify_schema(connection, definition)


def verify_schema(connection: Connection, definition: Definition) -> None:
    """Check that each table has the definition's columns; the connection must use the dataset's database.

    A table may have more columns: a definition can leave out what it can't have or nobody wants.

    Raises:
        StackError: columns are missing; the message has one line per table.
    """
    columns = connection.engine.column_types(connection)
    found = []
    for table in definition.tables:
        actual = set(columns.get(table.name, ()))
        if not actual >= set(table.column_names):
            found.append(
                f"table {definition.database}.{table.name} has the columns {_listed(actual)}, "
                f"but the definition names {_listed(set(table.column_names))}"
            )
    if found:
        raise StackError("\n".join([*found, "change the definition or run `millrace dataset init --drop`"]))


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
