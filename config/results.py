"""Which Gold tables a dataset has, and which of them the lake publishes in Redis, for programs that run no queries."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from config.definition import Definition

_MARK: Final = "-- redis: rows"


def results_in_redis(definition: Definition) -> list[str]:
    """Return the names of the tables whose queries say `-- redis: rows`, in alphabetical order."""
    return [query.stem for query in _queries(definition) if _MARK in query.read_text(encoding="utf-8").splitlines()]


def gold_tables(definition: Definition) -> list[str]:
    """Return the names of the Gold tables, in alphabetical order."""
    return [query.stem for query in _queries(definition)]


def _queries(definition: Definition) -> list[Path]:
    return sorted((Path(definition.folder) / "gold").glob("*.sql"))
