"""Stores the status of a dataset's last run in Redis, for other programs to display.

    batch_jobs:{dataset}    hash: state (running | done | nothing new | failed), run_id, started, ended, seconds, rows
                            (JSON object: number of rows written, by table), drift (JSON object: differences between
                            the columns of source and definition, by table), drifted_tables (their number), error
    batch_comparisons:{dataset}    hash of the last comparison of all tables with the source: verdict (equal | different
                            | behind), at (Unix time), different (JSON array: names of the tables that differ)
    batch_freshness:{dataset}    hash: fresh_at (JSON object: Unix time as of which each table is up to date), every_s
                            (interval of the service that runs; missing if none does)

A run, a service and a comparison continue if Redis is unreachable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import msgspec

from batch.pipeline.freshness import fresh_after
from batch.pipeline.lease import Caller
from batch.pipeline.manifest import TableRun
from streams.adapters.lake_keys import COMPARISONS, FRESHNESS, JOBS
from streams.adapters.redis import RedisAwayError, Script

log = logging.getLogger(__name__)

DATABASE: Final = 0

WRITE: Final = Script("""\
-- ARGV[1] is {key, {field, value, ...}} in MessagePack: replace the hash with exactly these fields
local key, fields = unpack(cmsgpack.unpack(ARGV[1]))
redis.call('DEL', key)
return redis.call('HSET', key, unpack(fields))
""")


READ: Final = Script("return redis.call('HGETALL', ARGV[1])")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The outcome of a comparison of all tables with the source: verdict, Unix time, and the tables that differed."""

    verdict: str
    at: float
    different: Sequence[str]


class JobRecord:
    """Redis hashes with the status of a dataset's last run, and with the outcome of its last comparison."""

    def __init__(self, redis: Caller, dataset: str, say: Callable[[str], None]) -> None:
        self._redis = redis
        self._key, self._comparison_key = f"{JOBS}{dataset}", f"{COMPARISONS}{dataset}"
        self._freshness_key = f"{FRESHNESS}{dataset}"
        self._say = say
        self._is_away = False

    def began(self, run_id: str, started: datetime) -> None:
        """Record that a run has started, replacing the status of the previous run."""
        self._write(state="running", run_id=run_id, started=_text(started))

    def ended(
        self,
        run_id: str,
        started: datetime,
        *,
        state: str,
        tables: Sequence[TableRun] = (),
        error: str = "",
        drift: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Record that a run has ended, with its state, duration, rows written per table, drift and error."""
        now = datetime.now(UTC)
        self._write(
            state=state,
            run_id=run_id,
            started=_text(started),
            ended=_text(now),
            seconds=f"{(now - started).total_seconds():.1f}",
            rows=msgspec.json.encode({table.name: table.rows_written for table in tables}).decode(),
            drift=msgspec.json.encode(drift or {}).decode(),
            drifted_tables=str(len(drift or {})),
            error=error,
        )

    def fresh(self, began_at: float, tables: Sequence[TableRun] = (), *, every_s: float | None = None) -> None:
        """Record how fresh each table is after a run that began at this Unix time.

        Args:
            every_s: interval of the service that made the run; None: no service runs, or it ends.
        """
        former = self._read(self._freshness_key)
        if former is None:
            return
        try:
            known = msgspec.json.decode(former.get("fresh_at", "{}"), type=dict[str, float])
        except msgspec.DecodeError:
            known = {}
        fresh_at = msgspec.json.encode(fresh_after(known, began_at, tables)).decode()
        interval = {} if every_s is None else {"every_s": f"{every_s:g}"}
        self._write_to(self._freshness_key, fresh_at=fresh_at, **interval)

    def compared(self, comparison: Comparison) -> None:
        """Record the outcome of a comparison of all tables with the source."""
        different = msgspec.json.encode(comparison.different).decode()
        self._write_to(self._comparison_key, verdict=comparison.verdict, at=f"{comparison.at:.3f}", different=different)

    def last_comparison(self) -> Comparison | None:
        """Return the outcome of the last comparison; None if there was none, or if Redis does not answer."""
        found = self._read(self._comparison_key)
        if not found:
            return None
        different = msgspec.json.decode(found["different"], type=list[str])
        return Comparison(verdict=found["verdict"], at=float(found["at"]), different=different)

    def _read(self, key: str) -> dict[str, str] | None:
        """Return the fields of a hash; None if Redis does not answer."""
        try:
            answer = cast(Sequence[bytes], self._redis.call(READ, key.encode()))
        except RedisAwayError as error:
            log.warning("could not read %s from Redis: %s", key, error)
            return None
        flat = [text.decode() for text in answer]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def _write(self, **fields: str) -> None:
        self._write_to(self._key, **fields)

    def _write_to(self, key: str, **fields: str) -> None:
        flat = [text for pair in fields.items() for text in pair]
        try:
            self._redis.call(WRITE, msgspec.msgpack.encode((key, flat)))
            self._is_away = False
        except RedisAwayError as error:
            log.warning("could not write the status of the run to Redis: %s", error)
            if not self._is_away:
                self._say(f"warning: could not write the status of the run to Redis: {error}")
            self._is_away = True


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
