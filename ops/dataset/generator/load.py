"""Load generated CSV files into the tables of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from config.definition import Definition
from config.engines.base import SourceSettings
from ops.database import connected
from ops.dataset.bulk import OnDuplicate
from ops.dataset.load import load_file
from stack.errors import StackError


def load_files(
    settings: SourceSettings,
    definition: Definition,
    paths: Mapping[str, Path],
    on_duplicate: OnDuplicate,
    report: Callable[[str], None],
) -> None:
    """Load each file into its table.

    Raises:
        StackError: a row was rejected; the message gives file, line and reason.
    """
    with connected(settings, definition.database, definition.schema) as connection:
        for name, path in paths.items():
            outcome = load_file(connection, definition.table(name), path, on_duplicate=on_duplicate, report=report)
            report(f"{name}: {outcome}")
            if outcome.rejected:
                first = outcome.examples[0]
                raise StackError(f"{path}: line {first.line}: {first.reason}")


def require_empty(settings: SourceSettings, definition: Definition) -> None:
    """Check that the dataset's tables are empty.

    Raises:
        StackError: tables have rows; the message names them and the remedy.
    """
    filled = []
    with connected(settings, definition.database, definition.schema) as connection, connection.cursor() as cursor:
        for name in (table.name for table in definition.tables):
            cursor.execute(f"SELECT 1 FROM {connection.quoted(name)} LIMIT 1")  # noqa: S608
            if cursor.fetchall():
                filled.append(name)
    if filled:
        raise StackError(
            f"tables of {definition.database} already hold rows: {', '.join(filled)}; "
            f"empty them with `millrace dataset init --drop` or add rows with --on-duplicate skip"
        )
