"""Stores the status of a dataset's last run in Redis, for other programs to display.

    batch_jobs:{dataset}    hash: state (running | done | nothing new | failed), run_id, started, ended, seconds, rows
                            (JSON object: number of rows written, by table), drift (JSON object: differences between
                            the columns of source and definition, by table), drifted_tables (their number), error
    batch_comparisons:{dataset}    hash of the last comparison of all tables with the source: verdict (equal | different
                            | behind), at (Unix time), different (JSON array: names of the tables that differ)

A run and a comparison continue if Redis is unreachable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import msgspec

from batch.pipeline.lease import Caller
from batch.pipeline.manifest import TableRun
from streams.adapters.lake_keys import COMPARISONS, JOBS
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

    def compared(self, comparison: Comparison) -> None:
        """Record the outcome of a comparison of all tables with the source."""
        different = msgspec.json.encode(comparison.different).decode()
        self._write_to(self._comparison_key, verdict=comparison.verdict, at=f"{comparison.at:.3f}", different=different)

    def last_comparison(self) -> Comparison | None:
        """Return the outcome of the last comparison; None if there was none, or if Redis does not answer."""
        try:
            answer = cast(Sequence[bytes], self._redis.call(READ, self._comparison_key.encode()))
        except RedisAwayError as error:
            log.warning("could not read the last comparison from Redis: %s", error)
            return None
        flat = [text.decode() for text in answer]
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        if not found:
            return None
        different = msgspec.json.decode(found["different"], type=list[str])
        return Comparison(verdict=found["verdict"], at=float(found["at"]), different=different)

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
