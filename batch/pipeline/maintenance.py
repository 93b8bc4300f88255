"""Maintains one table: removes old tombstones, merges small files, and deletes old files and archive objects."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from batch.bronze.archive import forget_objects
from batch.bronze.progress import positions
from batch.context import LayerResult, RunContext
from batch.delta import sizes
from batch.delta.table import LakeTable
from config.definition import Table
from streams.topics import topic_under

FILE_BYTES_MAX: Final = 128 * 1024 * 1024
FILES_PER_TABLE: Final = 8


def with_less_archive(table: Table, bronze: LakeTable, context: RunContext, *, keep_s: float) -> str:
    """Delete those archive objects of a table that are already in Bronze and older than `keep_s` seconds.

    Returns a text with the number and total size of the deleted objects.
    """
    topic = topic_under(context.definition.topic_prefix, table.source_name)
    landed = positions(bronze.progress(), topic)
    before = context.started_at - timedelta(seconds=keep_s)
    count, size = forget_objects(context.spark, context.lake.changes(topic), landed, before=before)
    return f"removed {count:,} archive objects ({megabytes(size)})"


def maintained(table: LakeTable, context: RunContext, *, keep_s: float, tombstones_s: float | None) -> LayerResult:
    """Remove a table's old tombstones, merge its small files, choose its writer, and delete old files.

    Args:
        keep_s: age in seconds up to which old table versions remain readable.
        tombstones_s: age in seconds after which tombstones are removed; None if the table has no tombstones.
    """
    layer, _, name = table.name.partition("/")
    version, files, stored = table.version(), table.data_files(), table.stored_bytes()
    removed = 0
    if tombstones_s is not None:
        oldest = context.started_at - timedelta(seconds=tombstones_s)
        condition = f"_deleted AND _committed_at < TIMESTAMP '{oldest:%Y-%m-%d %H:%M:%S}'"
        removed = table.remove(condition, run_id=context.run_id)
    table.compact(file_bytes=file_bytes(files.size), run_id=context.run_id)
    writer = table.decide_writer(run_id=context.run_id)
    table.vacuum(keep_s=keep_s)
    now = table.data_files()
    note = f"files {files.count:,} → {now.count:,}, stored {megabytes(stored)} → {megabytes(table.stored_bytes())}"
    note += f", written by {writer} from now on" if writer is not None else ""
    return LayerResult(
        layer=layer,
        table=name,
        version=table.version(),
        rows_written=removed,
        is_unchanged=table.version() == version,
        note=note,
    )


def file_bytes(table_bytes: int) -> int:
    """Return the target file size for a table: an eighth of it, between `sizes.FILE_BYTES` and `FILE_BYTES_MAX`."""
    return max(sizes.FILE_BYTES, min(FILE_BYTES_MAX, table_bytes // FILES_PER_TABLE))


def megabytes(count: int) -> str:
    """Format a number of bytes as megabytes, such as `1.5 MB`."""
    return f"{count / 1_000_000:,.1f} MB"
