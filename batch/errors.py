"""Errors of the lake's commands and layers."""

from __future__ import annotations


class BatchError(Exception):
    """A run or command cannot continue; the message has the layer and table, the fault, and what to do."""

    def __init__(self, message: str, *, layer: str = "", table: str = "") -> None:
        subject = "/".join(part for part in (layer, table) if part)
        super().__init__(f"{subject}: {message}" if subject else message)
        self.layer = layer
        self.table = table


class StorageError(BatchError):
    """The object storage is unreachable or full. This error ends the run, because all tables are stored there."""


class SparkEndedError(BatchError):
    """Spark's Java process has ended: no later run can succeed, so a supervisor must restart this Python process."""
