"""The CSV files that a dataset comes with: `data/<table>.csv` in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from config.definition import Definition
from stack.errors import StackError

FOLDER: Final = "data"


def has_shipped_files(definition: Definition) -> bool:
    """Whether the dataset comes with files."""
    return Path(definition.folder, FOLDER).is_dir()


def shipped_files(definition: Definition) -> dict[str, Path]:
    """Return the files that the dataset comes with, keyed by table, in the definition's order.

    Raises:
        StackError: a table has no file.
    """
    found = {table.name: Path(definition.folder, FOLDER, f"{table.name}.csv") for table in definition.tables}
    missing = [str(path) for path in found.values() if not path.is_file()]
    if missing:
        raise StackError(f"dataset {definition.name} comes without the files {', '.join(missing)}")
    return found
