"""What the batch jobs have recorded in Redis about the lake, as a section of the page `/`.

The service asks every ten seconds, whether anybody looks or not, so that the verdict of the page obeys the rules
`LakeDifferent` and `LakeStale` as the alerts do. The page has the Gold tables only, as these are what people query.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from mode import Service

from streams.adapters.lake_keys import COMPARISONS, FRESHNESS, JOBS
from streams.adapters.redis import RedisAwayError, Script, ScriptCaller
from streams.runtime.web.dashboard.html import Markup, table
from streams.runtime.web.dashboard.sections import age
from streams.runtime.web.dashboard.verdict import clock
from streams.runtime.web.words import counted

log = logging.getLogger(__name__)

DATABASE: Final = 0
GOLD: Final = "gold/"
ASK_S: Final = 10.0
MOST_CHARACTERS: Final = 200
MOST_TABLES: Final = 8
"""Rows of Gold tables, the oldest first; the rest is counted."""

STALE_INTERVALS: Final = 3
STALE_S: Final = 60.0
"""A table is stale once it is older than this many intervals of the service, and this time more."""

READ: Final = Script("""\
-- ARGV[1] is {keys of the last run, the last comparison and the freshness} in MessagePack -> the fields of each hash
local found = {}
for n, key in ipairs(cmsgpack.unpack(ARGV[1])) do found[n] = redis.call('HGETALL', key) end
return found
""")


class LakeRecords(Service):
    """The records of a dataset's last run of the lake, of its last comparison with the source, and of its freshness.

    Args:
        gold: names of the Gold tables that the dataset has.
    """

    def __init__(self, redis: ScriptCaller, dataset: str, *, gold: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._redis = redis
        self._gold = gold
        keys = [f"{beginning}{dataset}" for beginning in (JOBS, COMPARISONS, FRESHNESS)]
        self._keys = msgspec.msgpack.encode(keys)
        self._figures: dict[str, Any] = {}

    @Service.task
    async def _ask_again_and_again(self) -> None:
        while not self.should_stop:
            await self.ask()
            await self.sleep(ASK_S)

    async def on_stop(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def ask(self) -> None:
        """Read the records; without an answer the former ones stay, as the guard says already that Redis is away."""
        try:
            run, comparison, freshness = await self._redis.call(READ, self._keys)
            found = figures_of(_fields(run), _fields(comparison))
            self._figures = found | freshness_of(_fields(freshness), self._gold, time.time())
        except (RedisAwayError, AttributeError, KeyError, TypeError, ValueError) as error:  # also a record that is none
            log.debug("the records of the lake cannot be read: %r", error)

    def figures(self) -> dict[str, Any]:
        """Return what the records say; empty if there are none.

        state, ended (Unix time), seconds, rows and error are those of the last run; verdict, compared_at (Unix time),
        different (names of tables) and tables_different (their number) those of the last comparison. ages (of each Gold
        table as of asked_at, a Unix time; None of one that no run has updated), every_s (interval of the service, None
        without one) and tables_stale (number of tables that are too old for it) are those of the freshness.
        """
        return self._figures


def figures_of(run: Mapping[str, str], comparison: Mapping[str, str]) -> dict[str, Any]:
    """Translate the fields of both hashes, see `LakeRecords.figures`."""
    found: dict[str, Any] = {}
    if run:
        moment = datetime.fromisoformat(run.get("ended") or run["started"])
        rows = json.loads(run.get("rows", "{}"))
        found |= {"state": run["state"], "ended": moment.timestamp(), "seconds": float(run.get("seconds", 0))}
        found |= {"rows": sum(rows.values()), "error": run.get("error", "")[:MOST_CHARACTERS]}
    if comparison:
        different = json.loads(comparison["different"])
        found |= {"verdict": comparison["verdict"], "compared_at": float(comparison["at"])}
        found |= {"different": different, "tables_different": len(different)}
    return found


def freshness_of(fields: Mapping[str, str], gold: Sequence[str], now: float) -> dict[str, Any]:
    """Translate the fields of the hash, see `LakeRecords.figures`."""
    if not fields or not gold:
        return {}
    fresh_at = json.loads(fields["fresh_at"])
    every_s = float(fields["every_s"]) if "every_s" in fields else None
    known = {name: fresh_at.get(f"{GOLD}{name}") for name in gold}
    ages = {name: None if moment is None else max(0.0, now - float(moment)) for name, moment in known.items()}
    limit_s = float("inf") if every_s is None else STALE_INTERVALS * every_s + STALE_S
    stale = sum(seconds > limit_s for seconds in ages.values() if seconds is not None)
    found = {"ages": ages, "every_s": every_s, "limit_s": None if every_s is None else limit_s}
    return {**found, "asked_at": now, "tables_stale": stale}


def lake_section(parts: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the last run and the last comparison; all workers read the same records, so one is enough."""
    part = max(parts, key=_newest)
    rows: list[tuple[Any, ...]] = []
    if "state" in part:
        what = part["error"] or f"{counted(part['rows'], 'row')} written in {part['seconds']:.1f} s"
        rows.append(("Last run", part["state"], clock(part["ended"]), what))
    if "verdict" in part:
        what = ", ".join(part["different"])[:MOST_CHARACTERS] or "every table"
        rows.append(("Last comparison with the source", part["verdict"], clock(part["compared_at"]), what))
    rows += _gold(part)
    return table("The lake", ("What", "State", "When", "Details"), rows)


def _newest(part: Mapping[str, Any]) -> tuple[float, float, float]:
    return part.get("ended", 0.0), part.get("compared_at", 0.0), part.get("asked_at", 0.0)


def _gold(part: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield how old each Gold table is, the oldest first."""
    every_s, limit_s = part.get("every_s"), part.get("limit_s")
    runs = "no service runs" if every_s is None else f"a run every {age(every_s)}"
    ages = sorted(part.get("ages", {}).items(), key=lambda item: (item[1] is not None, -(item[1] or 0.0), item[0]))
    for name, seconds in ages[:MOST_TABLES]:
        if seconds is None:
            yield f"Gold table {name}", "not built yet", None, runs
            continue
        state = None if limit_s is None else "stale" if seconds > limit_s else "fresh"
        yield f"Gold table {name}", state, clock(part["asked_at"] - seconds), f"{age(seconds)} old; {runs}"
    if len(ages) > MOST_TABLES:
        yield f"{counted(len(ages) - MOST_TABLES, 'more Gold table')}, none older", None, None, None


def _fields(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [text.decode() for text in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))
