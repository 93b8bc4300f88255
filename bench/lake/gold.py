"""Compare the Gold tables of a system with the source database, by number of rows and a sum of row hashes (MD5).

The database computes the expected digests with separate SQL queries (`config/datasets/…/oracle`). The digests of a
system are computed from its Parquet files (read with pyarrow) or Delta tables (read with delta-rs). The unknown member
of each dimension is left out, because the source has no such row.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from bench.lake.testbed import LakeBenchTestbed
from bench.peers.lake_job import DIMENSIONS, FACTS, KEY_OF, UNKNOWN
from ops.database import connected
from stack.errors import StackError

TABLES: Final = (*DIMENSIONS, *FACTS)
_NULL: Final = "\\N"
_BETWEEN: Final = "\x1f"
_BITS: Final = 60


@dataclass(frozen=True, kw_only=True)
class Digest:
    """The digest of a table: column names, number of rows, and the sum of the first 60 bits of each row's MD5."""

    columns: tuple[str, ...]
    rows: int
    total: int


Digests = Mapping[str, Digest]


def differing(found: Digests, expected: Digests) -> list[str]:
    """Return the names of the Gold tables whose digests differ from the expected digests."""
    return [name for name in TABLES if found.get(name) != expected[name]]


def of_source(testbed: LakeBenchTestbed) -> Digests:
    """Compute the expected digests of the Gold tables, from the source database."""
    found = {}
    with connected(testbed.database, testbed.definition.database) as connection, connection.cursor() as cursor:
        for name in TABLES:
            query = Path(testbed.definition.folder, "oracle", f"{name}.sql").read_text()
            cursor.execute(f"SELECT * FROM ({query}) AS oracle LIMIT 0")  # noqa: S608
            cursor.fetchall()
            columns = tuple(sorted(str(each[0]) for each in cursor.description or ()))
            texts = ", ".join(f"COALESCE(CAST(`{column}` AS CHAR), '\\\\N')" for column in columns)
            md5 = f"MD5(CONCAT_WS(CHAR(31 USING utf8mb4), {texts}))"
            total = f"SUM(CAST(CONV(LEFT({md5}, {_BITS // 4}), 16, 10) AS UNSIGNED))"
            cursor.execute(f"SELECT COUNT(*), COALESCE({total}, 0) FROM ({query}) AS oracle")  # noqa: S608
            [row] = cursor.fetchall()
            rows, sum_ = (int(str(value)) for value in row)
            found[name] = Digest(columns=columns, rows=rows, total=sum_)
    return found


def of_parquet(testbed: LakeBenchTestbed, folder: str) -> Digests:
    """Compute the digests of the Gold tables that a system wrote as plain Parquet files below `folder`."""

    def files(place: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        for name in testbed.names("gold", f"{folder}/{place}"):
            if name.endswith(".parquet"):
                pairs = (part.partition("=") for part in name.split("/") if "=" in part)
                yield name, {column: unquote(value) for column, _, value in pairs}

    return {name: digest(name, _table(testbed, files(place))) for name, place in _places()}


def of_delta(testbed: LakeBenchTestbed) -> Digests:
    """Compute the digests of Millrace's Gold tables, at the versions that the newest manifest names.

    Raises:
        StackError: the lake has no manifest.
    """
    runs = [name for name in testbed.names("gold", "audit/runs") if name.endswith(".json")]
    if not runs:
        raise StackError("the lake has no manifest in gold/audit/runs: Millrace has not finished a run")
    versions = json.loads(testbed.content("gold", runs[-1]))["versions"]
    return {name: digest(name, _delta(testbed, place, versions[f"gold/{name}"])) for name, place in _places()}


def _places() -> Iterator[tuple[str, str]]:
    yield from ((name, f"dimensions/{name}") for name in DIMENSIONS)
    yield from ((name, f"facts/{name}") for name in FACTS)


def _delta(testbed: LakeBenchTestbed, place: str, version: int) -> pa.Table:
    store = testbed.storage
    options = {
        "aws_endpoint_url": store.endpoint,
        "aws_access_key_id": store.access_key,
        "aws_secret_access_key": store.secret_key,
        "aws_allow_http": "true",
    }
    return DeltaTable(f"s3://gold/{place}", version=version, storage_options=options).to_pyarrow_table()


def _table(testbed: LakeBenchTestbed, files: Iterable[tuple[str, Mapping[str, str]]]) -> pa.Table:
    tables = []
    for name, values in files:
        table = pq.read_table(io.BytesIO(testbed.content("gold", name)))
        for column, value in values.items():
            if column not in table.column_names:
                table = table.append_column(column, pa.array([value] * table.num_rows, pa.string()))
        tables.append(table)
    return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})


def digest(name: str, table: pa.Table) -> Digest:
    """Compute the digest of one Gold table, without the unknown member if the table is a dimension."""
    columns = tuple(sorted(table.column_names))
    if name in KEY_OF and KEY_OF[name] in columns:
        table = table.filter(pc.not_equal(table[KEY_OF[name]], UNKNOWN))
    if not table.num_rows:
        return Digest(columns=columns, rows=0, total=0)
    rows = pc.binary_join_element_wise(*(_texts(table[column]) for column in columns), _BETWEEN)
    total = sum(_first_bits(text) for text in rows.to_pylist())
    return Digest(columns=columns, rows=table.num_rows, total=total)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Format the values of a column as text, in the same way as the source database does."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"))
    return column.cast(pa.string()).fill_null(_NULL)


def _first_bits(text: str) -> int:
    first = hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8]
    return int.from_bytes(first) >> 64 - _BITS
