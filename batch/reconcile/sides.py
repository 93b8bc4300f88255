"""The two sides of a comparison: rows of the source database, and rows of a table of the lake."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame

from batch.reconcile.buckets import COARSE_DIGITS, Bucket, digests_by_key
from config.engines.base import Connection


class SourceSide:
    """Rows of the source database, as one side of a comparison.

    Args:
        connection: used only on `thread`, because a connection cannot be shared between threads.
        query: SELECT with the columns `k` (canonical text of the key) and `d` (MD5 of the row's canonical text).
        thread: an executor with a single thread, on which all queries run.
    """

    def __init__(self, connection: Connection, query: str, thread: Executor) -> None:
        self._connection = connection
        self._query = query
        self._thread = thread
        self._known: dict[int, Future[dict[str, Bucket]]] = {}

    def prefetch(self) -> None:
        """Begin to compute the buckets of the first comparison, so that the database works while Spark does."""
        self._complete(COARSE_DIGITS)

    def buckets(self, digits: int, within: Collection[str] | None = None) -> dict[str, Bucket]:
        """Compute buckets with one SQL query; complete results are cached, because several layers need them."""
        if within is not None:
            return self._thread.submit(self._buckets, digits, within).result()
        return self._complete(digits).result()

    def _complete(self, digits: int) -> Future[dict[str, Bucket]]:
        if digits not in self._known:
            self._known[digits] = self._thread.submit(self._buckets, digits, None)
        return self._known[digits]

    def _buckets(self, digits: int, within: Collection[str] | None) -> dict[str, Bucket]:
        engine, prefix = self._connection.engine, self._prefix
        sql = f"""
            SELECT {prefix.format(digits)} AS bucket, COUNT(*), SUM({engine.digest_number("d")})
            FROM ({self._query}) AS canonical {_where(prefix, within)} GROUP BY bucket
        """  # noqa: S608 - identifiers of a definition, hexadecimal digits
        return {name: Bucket(int(rows), int(total)) for name, rows, total in self._ask(sql)}

    def rows(self, within: Collection[str]) -> dict[str, str]:
        """Return the digests, by key, of the rows in the buckets `within`."""
        where = _where(self._prefix, within)
        sql = f"SELECT k, d FROM ({self._query}) AS canonical {where}"  # noqa: S608
        return digests_by_key(self._thread.submit(self._ask, sql).result())

    @property
    def _prefix(self) -> str:
        """Expression for the leading digits of the key's MD5; `{0}` stands for the number of digits."""
        return f"LEFT({self._connection.engine.digest('k')}, {{0}})"

    def _ask(self, sql: str) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return [[_text(value) for value in row] for row in cursor.fetchall()]


class LakeSide:
    """Rows of a table of the lake, as one side of a comparison.

    Args:
        select: returns the rows, with the columns `k` and `d` as in `SourceSide`; called once, by the first query,
            because it may run a Spark job.
    """

    def __init__(self, select: Callable[[], DataFrame]) -> None:
        self._select = select

    @cached_property
    def _frame(self) -> DataFrame:
        return self._select()

    def buckets(self, digits: int, within: Collection[str] | None = None) -> dict[str, Bucket]:
        """Compute buckets with one Spark job."""
        rows = (
            _within(self._frame, within)
            .selectExpr(
                f"left(md5(k), {digits}) AS bucket", "CAST(conv(left(d, 13), 16, 10) AS DECIMAL(20, 0)) AS digest"
            )
            .groupBy("bucket")
            .agg({"*": "count", "digest": "sum"})
            .collect()
        )
        return {row["bucket"]: Bucket(int(row["count(1)"]), int(row["sum(digest)"])) for row in rows}

    def rows(self, within: Collection[str]) -> dict[str, str]:
        """Return the digests, by key, of the rows in the buckets `within`."""
        return digests_by_key(map(tuple, _within(self._frame, within).select("k", "d").collect()))


def _within(frame: DataFrame, within: Collection[str] | None) -> DataFrame:
    condition = _where("left(md5(k), {0})", within).removeprefix("WHERE ")
    return frame.where(condition) if condition else frame


def _where(expression: str, within: Collection[str] | None) -> str:
    """Return a WHERE clause for rows whose key's MD5 starts with a prefix in `within`; empty if `within` is None.

    Args:
        expression: SQL expression for the leading digits of the MD5; `{0}` stands for the number of digits.
        within: prefixes of an MD5, all of the same length.
    """
    if within is None:
        return ""
    digits = len(next(iter(within), ""))
    listed = ", ".join(f"'{name}'" for name in sorted(within)) or "NULL"
    return f"WHERE {expression.format(digits)} IN ({listed})"


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes | bytearray) else value
