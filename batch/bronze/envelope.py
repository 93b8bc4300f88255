"""Converts archived records to row versions: Spark decodes and checks all change envelopes in a single pass.

The result agrees with `streams.model.change`: both modules classify an envelope, with or without the converter's
`schema` wrapper, as the same kind (change, tombstone or unreadable), and assign the same position to a change. Only a
truncation (`t`) is read here alone: the streams put it aside as malformed, because it describes no row.
"""

from __future__ import annotations

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.connector_text import canonical_text
from batch.bronze.rest import REST, rest_sql
from batch.bronze.sequence import epoch_sql, file_number_sql, is_wal_sql, sequence_sql, wal_sql
from config.definition import Definition, LogicalType, Table
from config.settings import ROW_MAX_BYTES
from streams.model.change import LATEST_MS, MAX_ID_LENGTH, UNAVAILABLE
from streams.model.position import SNAPSHOT_ROW

UNREADABLE: Final = "unreadable"
"""The rule name under which the quarantine stores records that cannot be converted to a row version."""

BETWEEN: Final = "\x1f"
"""The separator between column names in the column `_names`."""

IS_READABLE: Final = "_problem IS NULL AND NOT _is_tombstone AND _op <> 't'"
"""The Spark SQL condition for records that can be converted to a row version."""

_ENVELOPE: Final = (
    "op STRING, before MAP<STRING, STRING>, after MAP<STRING, STRING>, "
    "source STRUCT<name: STRING, file: STRING, pos: BIGINT, row: STRING, sequence: STRING, ts_ms: STRING>"
)
_WIRE: Final = f"{_ENVELOPE}, payload STRUCT<{_ENVELOPE}>"
_TIME: Final = "IF(_body.source.ts_ms RLIKE '^[0-9]{1,15}$', CAST(_body.source.ts_ms AS BIGINT), -1)"
"""The source time as a number, -1 if it is not a number or has more digits than the last millisecond of year 9999."""

_PROBLEMS: Final = (
    ("NOT is_valid_utf8(_text)", "the record is not valid UTF-8"),
    ("_wire IS NULL OR (_wire.op IS NULL AND _wire.payload IS NULL)", "the record is not a change envelope"),
    ("_wire.op IS NOT NULL AND _wire.payload IS NOT NULL", "the record has both op and payload at its top level"),
    ("_body.op IS NULL OR _body.op NOT IN ('c', 'u', 'd', 'r', 't')", "op is not one of c, u, d, r and t"),
    ("_row IS NULL AND _body.op <> 't'", "the record has no row (in after, or in before for a delete)"),
    ("_sequence IS NULL", "source has no valid log position (file, pos, row, or sequence)"),
    (
        f"_body.source.ts_ms IS NOT NULL AND {_TIME} NOT BETWEEN 0 AND {LATEST_MS}",
        f"its source time (source.ts_ms) is out of range (0 to {LATEST_MS} ms since 1970)",
    ),
)


_PLACEHOLDERS: Final = ", ".join(
    f"'{text}'" for text in (UNAVAILABLE.decode(), UNAVAILABLE.hex(), f'["{UNAVAILABLE.decode()}"]')
)
_REPLICA_IDENTITY: Final = "run ALTER TABLE … REPLICA IDENTITY FULL, then `millrace lake reconcile --repair`"


def decoded(records: DataFrame, table: Table, *, max_bytes: int = ROW_MAX_BYTES) -> DataFrame:
    """Decode the change envelopes of archived records, and check that each is readable.

    A value of more than `max_bytes` is not decoded, as Java could end for want of memory, and with it all tables.

    The result has the columns `_problem` (the reason why a record is unreadable, else NULL), `_is_tombstone`, `_row` (a
    map from column name to text), `_op`, `_sequence`, `_committed_at` and `_origin`, and for unreadable records the raw
    `key` and `value`.
    """
    file_number, pos = _place()
    row_number = "IF(_body.source.row RLIKE '^[0-9]+$', try_cast(_body.source.row AS INT), NULL)"
    row = f"IF(_body.op = 'r', {SNAPSHOT_ROW}, IF(_body.source.row IS NULL, 0, {row_number}))"
    body = ", ".join(f"'{name}', _wire.{name}" for name in ("op", "before", "after", "source"))
    text = F.expr(f"IF(length(value) > {max_bytes}, NULL, CAST(value AS STRING))")
    wires = records.withColumn("_text", text).withColumn("_wire", F.from_json("_text", _WIRE, {"mode": "PERMISSIVE"}))
    bodies = wires.withColumn("_body", F.expr(f"coalesce(_wire.payload, named_struct({body}))"))
    fields = bodies.select(
        "partition",
        "offset",
        "key",
        "value",
        "_text",
        "_wire",
        F.expr(
            "value IS NULL OR (_wire.op IS NULL AND _wire.payload IS NULL "
            "AND coalesce(array_contains(json_object_keys(_text), 'payload'), false))"
        ).alias("_is_tombstone"),
        "_body",
        F.col("_body.op").alias("_op"),
        F.expr("IF(_body.op = 'd', _body.before, _body.after)").alias("_row"),
        F.expr(sequence_sql(epoch_sql("_body.source.name"), file_number, pos, row)).alias("_sequence"),
        F.expr(f"IF({_TIME} BETWEEN 1 AND {LATEST_MS}, timestamp_millis({_TIME}), NULL)").alias("_committed_at"),
        F.expr("concat_ws('/', topic, partition, offset)").alias("_origin"),
    )
    judged = fields.withColumn("_problem", _problem(table, max_bytes)).drop("_wire", "_body", "_text")
    return _with_raw_bytes_of_the_unreadable(judged, max_bytes)


def _with_raw_bytes_of_the_unreadable(judged: DataFrame, max_bytes: int) -> DataFrame:
    """Only the quarantine needs keys and values; keeping those of all records could exceed the memory."""
    is_large = f"length(value) > {max_bytes}"
    return judged.withColumns(
        {
            "key": F.expr("IF(_problem IS NULL, NULL, key)"),
            "value": F.expr(f"IF(_problem IS NULL OR {is_large}, NULL, value)"),
        }
    )


def _place() -> tuple[str, str]:
    """Return SQL expressions for the second and third part of a record's position."""
    is_wal = "_body.source.file IS NULL AND _body.source.sequence IS NOT NULL"
    sequence = "_body.source.sequence"
    commit, change = wal_sql(sequence, 1), wal_sql(sequence, 2)
    # Without a commit, the text has `null`, and the extracted text is empty.
    commit = f"IF({is_wal_sql(sequence)}, IF(startswith({sequence}, '[null'), 0L, {commit}), NULL)"
    change = f"IF(_body.op = 'r', 0L, IF({change} > 0, {change}, NULL))"
    pos = "IF(_body.source.pos >= 0, _body.source.pos, NULL)"
    return (
        f"IF({is_wal}, {commit}, {file_number_sql('_body.source.file')})",
        f"IF({is_wal}, {change}, {pos})",
    )


def with_table_columns(decoded_records: DataFrame, table: Table, definition: Definition) -> DataFrame:
    """Replace the column `_row` of decoded records with the table's columns, as canonical text, and `_rest`.

    The new column `_names` lists the column names of a readable row, separated by `BETWEEN`; it is NULL for a delete.
    The raw `key` and `value` are renamed to `_key` and `_value`, so that they cannot clash with the table's columns.
    """
    texts = [
        F.expr(canonical_text(column, f"_row['{column.source_name}']")).alias(column.name) for column in table.columns
    ]
    names = F.array_join(F.map_keys("_row"), BETWEEN)
    return decoded_records.select(
        *texts,
        *(name for name in decoded_records.columns if name.startswith("_") and name != "_row"),
        F.when(F.expr(f"{IS_READABLE} AND _op <> 'd'"), names).alias("_names"),
        F.expr(rest_sql(table, definition, "_row")).alias(REST),
        F.col("key").alias("_key"),
        F.col("value").alias("_value"),
    )


def versions(records: DataFrame, table: Table) -> DataFrame:
    """Select the row versions from the result of `with_table_columns`, with the columns that Bronze needs."""
    good = records.where(IS_READABLE)
    return good.select(*table.column_names, "_op", "_sequence", "_committed_at", "_origin", REST)


def unreadable(records: DataFrame, table: Table) -> DataFrame:
    """Convert the unreadable records in the result of `with_table_columns` to rows of the quarantine.

    Each row contains the reason and the whole record; bytes that are not UTF-8 are encoded in base64.
    """
    text = "IF(is_valid_utf8(CAST({0} AS STRING)), CAST({0} AS STRING), concat('base64:', base64({0})))"
    whole = F.to_json(
        F.struct(
            F.col("_problem").alias("reason"),
            F.expr(text.format("_key")).alias("key"),
            F.expr(text.format("_value")).alias("value"),
        )
    )
    return records.where("_problem IS NOT NULL").select(
        F.lit(table.name).alias("table"),
        F.to_json(F.struct(F.expr(text.format("_key")).alias("key"))).alias("key"),
        F.lit(UNREADABLE).alias("rule"),
        F.lit("quarantine").alias("action"),
        whole.alias("row"),
        "_sequence",
        "_origin",
    )


def _problem(table: Table, max_bytes: int) -> Column:
    without_key = " OR ".join(f"_row['{table.column(name).source_name}'] IS NULL" for name in table.key)
    without_key = f"_body.op <> 't' AND ({without_key})"
    problems = [
        *_PROBLEMS,
        (without_key, f"the row lacks a value for the key ({', '.join(table.key)})"),
    ]
    problems += [
        (
            f"_row['{column.source_name}'] IN ({_PLACEHOLDERS})",
            f"the database did not log {column.name}: {_REPLICA_IDENTITY}",
        )
        for column in table.columns
    ]
    for column in table.columns:
        if column.name in table.key and column.type is LogicalType.UUID:
            too_long = f"length(_row['{column.source_name}']) NOT BETWEEN 1 AND {MAX_ID_LENGTH}"
            problems.append((too_long, f"{column.name} must have from 1 to {MAX_ID_LENGTH} characters"))
    size, limit = "format_number(length(value), 0)", f"LAKE_ROW_MAX_BYTES ({max_bytes:,}); the archive has it"
    too_large = f"WHEN length(value) > {max_bytes} THEN concat('the record has ', {size}, ' bytes, more than {limit}')"
    cases = " ".join(f"WHEN {found} THEN '{text}'" for found, text in problems)
    return F.expr(f"CASE WHEN _is_tombstone THEN NULL {too_large} {cases} END")
