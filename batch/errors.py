"""The errors of the batch jobs."""

from __future__ import annotations


class BatchError(Exception):
    """A job cannot go on; the text names layer and table, what happened, and what to do."""

    def __init__(self, message: str, *, layer: str = "", table: str = "") -> None:
        place = "/".join(part for part in (layer, table) if part)
        super().__init__(f"{place}: {message}" if place else message)
        self.layer = layer
        self.table = table


class StorageError(BatchError):
    """The object storage is away, or has no room: a run ends, since every other table is there too."""


class SparkEndedError(BatchError):
    """Java has ended: this process can do nothing more, its supervisor has to start another one."""
