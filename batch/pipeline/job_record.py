"""Stores the status of a dataset's last run in Redis, for other programs to display.

    batch_jobs:{dataset}    hash: state (running | done | nothing new | failed), run_id, started, ended, seconds, rows
                            (JSON object: number of rows written, by table), drift (JSON object: differences between
                            the columns of source and definition, by table), drifted_tables (their number), error

Nothing in `batch` reads this status, and a run continues if Redis is unreachable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from batch.pipeline.lease import Caller
from batch.pipeline.manifest import TableRun
from streams.adapters.redis import RedisAwayError, Script

log = logging.getLogger(__name__)

DATABASE: Final = 0

WRITE: Final = Script("""\
-- ARGV[1] is {key, {field, value, ...}} in MessagePack: replace the hash with exactly these fields
local key, fields = unpack(cmsgpack.unpack(ARGV[1]))
redis.call('DEL', key)
return redis.call('HSET', key, unpack(fields))
""")


class JobRecord:
    """A Redis hash with the status of a dataset's last run."""

    def __init__(self, redis: Caller, dataset: str, say: Callable[[str], None]) -> None:
        self._redis = redis
        self._key = f"batch_jobs:{dataset}"
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

    def _write(self, **fields: str) -> None:
        flat = [text for pair in fields.items() for text in pair]
        try:
            self._redis.call(WRITE, msgspec.msgpack.encode((self._key, flat)))
            self._is_away = False
        except RedisAwayError as error:
            log.warning("could not write the status of the run to Redis: %s", error)
            if not self._is_away:
                self._say(f"warning: could not write the status of the run to Redis: {error}")
            self._is_away = True


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
