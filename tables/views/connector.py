"""The dataset's connector, as a section of the page `/`.

The service asks Connect every five seconds, whether anybody looks or not; so the page never waits for Connect. How far
Kafka is behind the source is what the worker's own changes say; how many rows of a snapshot or an incremental read are
in Kafka, `millrace connector watch` counts and writes into Redis.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from mode import Service

from streams.adapters.connect import ConnectAwayError
from streams.adapters.redis import RedisAwayError, Script, ScriptCaller
from streams.model.table_read import READS, ConnectorReads, is_initial_snapshot
from streams.runtime.web.dashboard.html import Markup, table
from streams.runtime.web.dashboard.verdict import clock
from streams.runtime.web.words import counted

log = logging.getLogger(__name__)

ASK_S: Final = 5.0
RUNNING: Final = "RUNNING"
MOST_TASKS: Final = 8
MOST_TABLES: Final = 8
MOST_CHARACTERS: Final = 200

WATCHED_S: Final = 60.0
"""How long the watch may take to count a read: from its beginning, and after its last figures. Only then is it missed.

The alert `ConnectorDown` gives the connector as long."""

INITIAL: Final = "initial snapshot"
"""Name of the initial snapshot among the reads under way."""

MOST_ABOVE: Final = 1.05

UNCOUNTED: Final = "run `millrace connector watch`, which counts the rows"
NOT_YET: Final = "its rows are not counted yet"

READ: Final = Script("return redis.call('GET', ARGV[1])")

_WELL: Final = (RUNNING, "PAUSED", "STOPPED", "RESTARTING")
"""States that are right or wanted, or that pass by themselves."""


class Connector(Protocol):
    """Interface through which the service asks for the connector."""

    async def read(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """Return the status, None if there is no such connector, and the source positions of the present epoch."""


class ConnectorRecords(Service):
    """What Connect said last of a connector.

    Args:
        client: asks Connect; None if the worker was not told where Connect is.
        behind: returns by how many milliseconds the newest change reached Kafka after its commit, and when (Unix
            time); None before the first change.
        redis: where the watch over the connector writes how far its reads are.
        dataset: name of the dataset, by which that is found.
    """

    def __init__(
        self,
        client: Connector | None,
        name: str,
        behind: Callable[[], tuple[int, float] | None],
        *,
        redis: ScriptCaller,
        dataset: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._client = client
        self._name = name
        self._behind = behind
        self._redis = redis
        self._key = f"{READS}{dataset}".encode()
        self._answer: dict[str, Any] = {}
        self._reads: dict[str, Any] = {}
        self._since: dict[str, float] = {}

    @Service.task
    async def _ask_again_and_again(self) -> None:
        while self._client is not None and not self.should_stop:
            await self.ask(self._client)
            await self.sleep(ASK_S)

    @Service.task
    async def _read_again_and_again(self) -> None:
        while not self.should_stop:
            await self.read()
            await self.sleep(ASK_S)

    async def on_stop(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def read(self) -> None:
        """Read what the watch has written; without an answer the former figures stay, with their time."""
        try:
            value = await self._redis.call(READ, self._key)
            self._reads = {} if value is None else reads_of(value)
        except (RedisAwayError, msgspec.DecodeError) as error:
            log.debug("the reads of the connector cannot be read: %r", error)

    async def ask(self, client: Connector) -> None:
        """Ask once; without an answer the former one stays, with its time and with the fault."""
        try:
            answer = answer_of(*await client.read())
            self._answer = {"at": time.time(), **answer}
            under_way = [*answer["tables"], *([INITIAL] if answer["snapshot"] else [])]
            self._since = {name: self._since.get(name, self._answer["at"]) for name in under_way}
        except ConnectAwayError as error:
            self._answer["fault"] = str(error)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._answer["fault"] = f"its answer is none of Kafka Connect ({type(error).__name__})"

    def figures(self) -> dict[str, Any]:
        """Return what is known.

        name; at (Unix time of the last answer), tasks (state of the connector and of each task, by name), failed
        (number of those that have failed), failure (the first of them with its error), unanswered (1 if Connect has
        answered before and does not now), snapshot (whether the initial one is under way), tables (incremental reads
        under way), since (Unix time at which each of these was seen first), fault (why there is no newer answer);
        behind_ms and newest_at of the newest change; reads (table, rows, estimated, is_under_way of each table's newest
        read) and counted_at (Unix time of these figures).
        """
        found: dict[str, Any] = {
            "name": self._name,
            "is_asked": self._client is not None,
            **self._answer,
            **self._reads,
            "since": self._since,
        }
        found["unanswered"] = int("fault" in self._answer and "at" in self._answer)
        if (behind := self._behind()) is not None:
            found |= {"behind_ms": behind[0], "newest_at": behind[1]}
        return found


def answer_of(status: Mapping[str, Any] | None, positions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Translate Connect's answers, see `ConnectorRecords.figures`."""
    if status is None:
        missing = "the connector does not exist"
        known = {"tasks": {"connector": "does not exist"}, "failed": 1, "failure": missing}
        return {**known, "traces": {}, "snapshot": None, "tables": []}
    parts = {"connector": status["connector"], **{f"task {task['id']}": task for task in status["tasks"]}}
    failures = [_failure(name, part) for name, part in parts.items() if part["state"] not in _WELL]
    return {
        "tasks": {name: str(part["state"]) for name, part in [*parts.items()][:MOST_TASKS]},
        "traces": {name: _first_line(part["trace"]) for name, part in parts.items() if part.get("trace")},
        "failed": len(failures),
        **({"failure": failures[0]} if failures else {}),
        "snapshot": any(map(is_initial_snapshot, positions)) if positions else None,
        "tables": [read for position in positions for read in _reads(position)][:MOST_TABLES],
    }


def _failure(name: str, part: Mapping[str, Any]) -> str:
    """Return which part does not run, and why if Connect says so."""
    why = _first_line(part.get("trace") or "")
    return f"{name} is {str(part['state']).lower()}" + (f", {why}" if why else "")


def _first_line(trace: str) -> str:
    return trace.strip().partition("\n")[0][:MOST_CHARACTERS]


def reads_of(value: bytes) -> dict[str, Any]:
    """Translate what the watch has written, see `ConnectorRecords.figures`."""
    found = msgspec.json.decode(value, type=ConnectorReads)
    return {"counted_at": found.at, "reads": msgspec.to_builtins(found.tables[:MOST_TABLES])}


def _reads(position: Mapping[str, Any]) -> list[str]:
    collections = json.loads(position.get("incremental_snapshot_collections") or "[]")
    return [str(each["incremental_snapshot_collections_id"]) for each in collections]


def connector_section(parts: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the connector as the worker with the newest answer knows it, and the newest change of all workers."""
    part = max(parts, key=lambda each: each.get("at", 0.0))
    rows = [*_state(part), *_newest_change(parts)]
    return table(f"The connector {part.get('name', '')}", ("What", "State", "As of", "Details"), rows)


def _state(part: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    asked = clock(part["at"]) if "at" in part else None
    if not part.get("is_asked"):
        yield "Kafka Connect", "not asked", None, "set CONNECT_URL, so that the worker can ask it"
    elif "fault" in part:
        yield "Kafka Connect", "does not answer", asked, part["fault"]
    elif asked is None:
        yield "Kafka Connect", "not asked yet", None, None
    traces = part.get("traces", {})
    for name, state in part.get("tasks", {}).items():
        yield name.capitalize(), state.lower(), asked, traces.get(name)
    yield from _reading(part, asked)


def _reading(part: Mapping[str, Any], asked: str | None) -> Iterator[tuple[Any, ...]]:
    """Yield what the connector reads, and how far that is if the watch counts it."""
    reads = part.get("reads", ())
    known = {read["table"] for read in reads if read["is_under_way"]}
    if part.get("at", 0.0) - part.get("counted_at", 0.0) < WATCHED_S:
        known |= {read["table"] for read in reads}
    if part.get("snapshot") is not None:
        hint = _uncounted(part, INITIAL) if part["snapshot"] and not known else None
        yield "Initial snapshot", "under way" if part["snapshot"] else "ended", asked, hint
    for name in part.get("tables", ()):
        if name.rpartition(".")[2] not in known:
            yield "Incremental read", "under way", asked, f"{name}; {_uncounted(part, name)}"
    for read in reads:
        state = "under way" if read["is_under_way"] else "ended"
        yield f"Read of {read['table']}", state, clock(part["counted_at"]), _rows(read)


def _uncounted(part: Mapping[str, Any], name: str) -> str:
    """Return why a read has no number of rows: a watch that runs needs a moment."""
    at = part.get("at", 0.0)
    return NOT_YET if at - part.get("since", {}).get(name, 0.0) < WATCHED_S else UNCOUNTED


def _rows(read: Mapping[str, Any]) -> str:
    rows, estimated = read["rows"], read["estimated"]
    if estimated is None:
        return f"about {counted(rows, 'row')}"
    if rows > MOST_ABOVE * estimated:  # statistics of a table that has just been filled may be far off
        return f"about {counted(rows, 'row')}; the statistics of the source say {estimated:,}"
    return f"about {rows:,} of about {counted(estimated, 'row')}"


def _newest_change(parts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield how long the newest change took from its commit to Kafka, by the database's clock."""
    known = [part for part in parts if "behind_ms" in part]
    if known:
        newest = max(known, key=lambda part: part["newest_at"])
        how = "from its commit to Kafka, by the clocks of the database and of Connect"
        yield "Newest change", f"{newest['behind_ms']:,} ms behind the source", clock(newest["newest_at"]), how
    else:
        yield "Newest change", "none since the workers started", None, None
