"""The keys under which the lake reports its runs in Redis: it writes them, and the workers' page reads them."""

from __future__ import annotations

from typing import Final

JOBS: Final = "batch_jobs:"
"""Beginning of the key of a dataset's last run."""

RESULTS: Final = "analytics:"
"""Beginning of the keys of the Gold tables that are published in Redis."""

COMPARISONS: Final = "batch_comparisons:"
"""Beginning of the key of a dataset's last comparison with its source."""

FRESHNESS: Final = "batch_freshness:"
"""Beginning of the key of the hash that has how fresh each table of the dataset is."""
