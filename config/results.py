"""What the lake publishes in Redis, for programs that do not read its queries: keys, and which Gold tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from config.definition import Definition

JOBS: Final = "batch_jobs:"
"""Beginning of the key of a dataset's last run."""

COMPARISONS: Final = "batch_comparisons:"
"""Beginning of the key of a dataset's last comparison with its source."""

_MARK: Final = "-- redis: rows"


def results_in_redis(definition: Definition) -> list[str]:
    """Return the names of the tables whose queries say `-- redis: rows`, in alphabetical order."""
    queries = sorted((Path(definition.folder) / "gold").glob("*.sql"))
    return [query.stem for query in queries if _MARK in query.read_text(encoding="utf-8").splitlines()]
