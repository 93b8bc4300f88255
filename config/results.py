"""Which Gold tables of a dataset the lake publishes in Redis, for programs that do not read its queries."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from config.definition import Definition

_MARK: Final = "-- redis: rows"


def results_in_redis(definition: Definition) -> list[str]:
    """Return the names of the tables whose queries say `-- redis: rows`, in alphabetical order."""
    queries = sorted((Path(definition.folder) / "gold").glob("*.sql"))
    return [query.stem for query in queries if _MARK in query.read_text(encoding="utf-8").splitlines()]
