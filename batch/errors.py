"""Exceptions raised by the batch commands and the layers of the lake."""

from __future__ import annotations


class BatchError(Exception):
    """A run or command cannot continue; the message names the layer and table, the problem, and a remedy."""

    def __init__(self, message: str, *, layer: str = "", table: str = "") -> None:
        subject = "/".join(part for part in (layer, table) if part)
        super().__init__(f"{subject}: {message}" if subject else message)
        self.layer = layer
        self.table = table


class StorageError(BatchError):
    """The object storage is unreachable or full; the whole run stops, because all tables are stored there."""


class SparkEndedError(BatchError):
    """Spark's Java process has exited; no further run can succeed until this Python process is restarted."""
