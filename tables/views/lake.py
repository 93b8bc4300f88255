"""What the batch jobs have recorded in Redis about the lake, as a section of the page `/`.

The service asks every ten seconds, whether anybody looks or not, so that the verdict of the page obeys the rule
`LakeDifferent` as the alert does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from mode import Service

from streams.adapters.lake_keys import COMPARISONS, JOBS
from streams.adapters.redis import RedisAwayError, Script, ScriptCaller
from streams.runtime.web.dashboard.html import Markup, table
from streams.runtime.web.dashboard.verdict import clock

log = logging.getLogger(__name__)

DATABASE: Final = 0
ASK_S: Final = 10.0
MOST_CHARACTERS: Final = 200

READ: Final = Script("""\
-- ARGV[1] is {key of the last run, key of the last comparison} in MessagePack -> the fields of both hashes
local keys = cmsgpack.unpack(ARGV[1])
return {redis.call('HGETALL', keys[1]), redis.call('HGETALL', keys[2])}
""")


class LakeRecords(Service):
    """The records of a dataset's last run of the lake, and of its last comparison with the source."""

    def __init__(self, redis: ScriptCaller, dataset: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._redis = redis
        self._keys = msgspec.msgpack.encode((f"{JOBS}{dataset}", f"{COMPARISONS}{dataset}"))
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
            run, comparison = await self._redis.call(READ, self._keys)
            self._figures = figures_of(_fields(run), _fields(comparison))
        except (RedisAwayError, ValueError, KeyError, TypeError) as error:  # also a record that is none
            log.debug("the records of the lake cannot be read: %r", error)

    def figures(self) -> dict[str, Any]:
        """Return what the records say; empty if there are none.

        state, ended (Unix time), seconds, rows and error are those of the last run; verdict, compared_at (Unix time),
        different (names of tables) and tables_different (their number) those of the last comparison.
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


def lake_section(parts: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the last run and the last comparison; all workers read the same records, so one is enough."""
    part = max(parts, key=lambda each: (each.get("ended", 0.0), each.get("compared_at", 0.0)))
    rows: list[tuple[Any, ...]] = []
    if "state" in part:
        what = part["error"] or f"{part['rows']:,} rows written in {part['seconds']:.1f} s"
        rows.append(("Last run", part["state"], clock(part["ended"]), what))
    if "verdict" in part:
        what = ", ".join(part["different"])[:MOST_CHARACTERS] or "every table"
        rows.append(("Last comparison with the source", part["verdict"], clock(part["compared_at"]), what))
    return table("The lake", ("What", "State", "When", "Details"), rows)


def _fields(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [text.decode() for text in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))
