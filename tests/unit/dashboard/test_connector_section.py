"""Goal: the page shows how the connector is, whatever Connect answers, and never waits for it.

Method: a service that is asked as Connect is, on a real socket; and answers as Connect's documentation has them.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from stack.ports import free_ports
from streams.adapters import connect
from streams.adapters.connect import ConnectAwayError, ConnectClient
from streams.adapters.redis import RedisAwayError, Script
from streams.model.table_read import ConnectorReads, TableRead
from streams.runtime.web.dashboard.sections import sections
from tables.views.connector import WATCHED_S, ConnectorRecords, connector_section
from tables.views.rules import ORDER_RULES
from tests.unit.dashboard.snapshots import NOON, seen

NAME = "shop-connector"
PATH = f"/connectors/{NAME}"
RUNNING = {"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "RUNNING"}]}
READING = '[{"incremental_snapshot_collections_id":"shop.customers"}]'
FAILED = {
    "connector": {"state": "RUNNING"},
    "tasks": [{"id": 0, "state": "FAILED", "trace": "org.apache.<b>: binlog gone\n\tat x"}],
}


def position(server: str = "shop", **offset: Any) -> dict[str, Any]:
    return {"partition": {"server": server}, "offset": offset}


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[dict[str, Any]], Any]]:
    """Starts a Connect that answers these paths, however busy the machine is."""
    monkeypatch.setattr(connect, "ANSWER_S", 30.0)
    runners = []

    async def start(answers: dict[str, Any]) -> ConnectClient:
        async def answer(request: web.Request) -> web.Response:
            found = answers.get(request.path)
            if found is None:
                return web.json_response({}, status=404)
            return web.Response(text=found) if isinstance(found, str) else web.json_response(found)

        app = web.Application()
        app.router.add_get("/{rest:.*}", answer)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        [port] = free_ports(["connect"]).values()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return ConnectClient(f"http://user:secret@127.0.0.1:{port}/", NAME)

    yield start
    for runner in runners:
        await runner.cleanup()


def answers(status: Any, *positions: Any) -> dict[str, Any]:
    return {
        f"{PATH}/status": status,
        f"{PATH}/config": {"topic.prefix": "shop"},
        f"{PATH}/offsets": {"offsets": [*positions]},
    }


class Redis:
    """A Redis with one value, or an outage."""

    def __init__(self, value: bytes | RedisAwayError | None) -> None:
        self.value = value

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = 0.0) -> Any:
        assert argument == b"connector_reads:shop"
        if isinstance(self.value, RedisAwayError):
            raise self.value
        return self.value

    async def close(self) -> None:
        """Nothing is open."""


def records_of(
    client: ConnectClient | None, behind: tuple[int, float] | None = None, redis: Redis | None = None
) -> ConnectorRecords:
    return ConnectorRecords(client, NAME, lambda: behind, redis=redis or Redis(None), dataset="shop")


async def recorded(client: ConnectClient | None, behind: tuple[int, float] | None = None) -> dict[str, Any]:
    records = records_of(client, behind)
    if client is not None:
        await records.ask(client)
    return records.figures()


def shown(*parts: Any) -> str:
    workers = [seen(f"{n}:6066", connector=part) for n, part in enumerate(parts)]
    html = sections(workers, ORDER_RULES, {"connector": connector_section})["connector"]
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


async def test_a_connector_that_runs_and_the_newest_change_are_shown(serve: Any) -> None:
    reading = position(incremental_snapshot_collections=READING)
    old = position("shop-0", snapshot="INITIAL")
    figures = await recorded(await serve(answers(RUNNING, reading, old)), (14, NOON))
    text = shown(figures)
    assert "Connector running" in text
    assert "Task 0 running" in text
    assert "Initial snapshot ended" in text, "the position of a former epoch says nothing"
    assert re.search(r"Incremental read under way \S+ UTC shop.customers", text)
    assert "Newest change 14 ms behind the source 12:00:00 UTC" in text
    assert (figures["failed"], figures["unanswered"]) == (0, 0)


async def test_an_initial_snapshot_is_said_to_be_under_way(serve: Any) -> None:
    figures = await recorded(await serve(answers(RUNNING, position(snapshot="INITIAL", snapshot_completed=False))))
    assert "Initial snapshot under way" in shown(figures)


async def test_a_task_that_failed_shows_the_first_line_of_its_trace_as_text(serve: Any) -> None:
    figures = await recorded(await serve(answers(FAILED)))
    assert figures["failed"] == 1
    assert "Task 0 failed" in shown(figures)
    assert "org.apache.&lt;b&gt;: binlog gone" in shown(figures)
    assert "at x" not in shown(figures)
    assert figures["failure"] == "task 0 is failed, org.apache.<b>: binlog gone", "which the verdict names"


async def test_a_connector_that_does_not_exist_is_said_not_to(serve: Any) -> None:
    figures = await recorded(await serve({}))
    assert figures["failed"] == 1
    assert "does not exist" in shown(figures)


@pytest.mark.parametrize("status", ["no json", "[]", {"tasks": 1}, {"connector": {"state": 1}}], ids=repr)
async def test_an_answer_that_is_none_of_connect_is_said_to_be_so(serve: Any, status: Any) -> None:
    assert "does not answer" in shown(await recorded(await serve(answers(status))))


async def test_connect_that_hangs_or_is_away_takes_a_second_at_most(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "ANSWER_S", 0.0)
    with pytest.raises(ConnectAwayError, match="no answer"):
        await (await serve(answers(RUNNING))).read()
    monkeypatch.undo()
    away = ConnectClient("http://user:secret@127.0.0.1:1", NAME)
    with pytest.raises(ConnectAwayError) as error:
        await away.read()
    assert str(error.value) == "no connection (connection refused)", "without the login"


async def test_the_former_answer_stays_with_its_time_when_connect_goes(serve: Any) -> None:
    client = await serve(answers(RUNNING))
    records = records_of(client)
    await records.ask(client)
    await records.ask(ConnectClient("http://127.0.0.1:1", NAME))
    assert records.figures()["unanswered"] == 1
    assert "Kafka Connect does not answer" in shown(records.figures())
    assert "Task 0 running" in shown(records.figures())


async def test_at_the_first_start_the_page_says_what_is_not_known_yet() -> None:
    assert "not asked – set CONNECT_URL" in shown(await recorded(None))
    assert "Newest change none since the workers started" in shown(await recorded(None))
    never = await recorded(ConnectClient("http://127.0.0.1:1", NAME))
    assert never["unanswered"] == 0, "a stack without Connect is no fault"


async def test_the_worker_that_knows_most_and_the_newest_change_of_all_are_shown(serve: Any) -> None:
    asked = await recorded(await serve(answers(RUNNING)), (900, NOON - 60))
    text = shown(await recorded(None, (20, NOON)), asked)
    assert "Task 0 running" in text
    assert "20 ms behind the source" in text


def reads(*, is_under_way: bool) -> bytes:
    """What the watch writes: a table that is read, or was, and one of which no statistics are known."""
    tables = [
        TableRead(table="customers", rows=312_000, estimated=1_000_123, is_under_way=is_under_way),
        TableRead(table="orders", rows=7, estimated=None, is_under_way=False),
        TableRead(table="stores", rows=50_100, estimated=31_744, is_under_way=False),
    ]
    return msgspec.json.encode(ConnectorReads(at=NOON, tables=tables))


async def test_a_read_shows_how_many_rows_are_done_of_about_how_many(serve: Any) -> None:
    redis = Redis(reads(is_under_way=True))
    connector = await serve(answers(RUNNING, position(incremental_snapshot_collections=READING)))
    records = records_of(connector, redis=redis)
    await records.ask(connector)
    begun = records.figures()
    assert "Incremental read under way" in shown(begun), "before the watch has counted anything"
    assert "shop.customers; its rows are not counted yet" in shown(begun), "a watch that runs needs a moment"
    assert "run `millrace connector watch`" in shown({**begun, "at": begun["at"] + WATCHED_S})
    await records.read()
    text = shown(records.figures())
    assert "Read of customers under way 12:00:00 UTC about 312,000 of about 1,000,123 rows" in text
    assert "Read of orders ended 12:00:00 UTC about 7 rows" in text
    assert "about 50,100 rows; the statistics of the source say 31,744" in text
    assert "millrace connector watch" not in text
    redis.value = reads(is_under_way=False)
    await records.read()
    assert "Read of customers ended" in shown(records.figures())
    fresh = {**records.figures(), "at": NOON + 5}
    assert "millrace connector watch" not in shown(fresh), "the watch has seen the end, and Connect was asked before"
    assert "millrace connector watch" in shown({**fresh, "at": NOON + 600, "since": {"shop.customers": NOON}})


@pytest.mark.parametrize("value", [RedisAwayError("away"), b"[]", b"\xff"], ids=repr)
async def test_figures_of_reads_stay_if_redis_is_away_or_has_something_else(
    serve: Any, value: bytes | RedisAwayError
) -> None:
    redis = Redis(reads(is_under_way=True))
    records = records_of(None, redis=redis)
    await records.read()
    redis.value = value
    await records.read()
    assert "about 312,000" in shown(records.figures())


async def test_an_initial_snapshot_without_a_watch_says_after_a_moment_who_would_count(serve: Any) -> None:
    figures = await recorded(await serve(answers(RUNNING, position(snapshot="INITIAL"))))
    assert "its rows are not counted yet" in shown(figures)
    assert "run `millrace connector watch`, which counts the rows" in shown(
        {**figures, "at": figures["at"] + WATCHED_S}
    )


async def test_a_second_read_of_a_table_gets_its_moment_too_and_one_that_goes_on_gets_no_other(serve: Any) -> None:
    paths = answers(RUNNING, position(incremental_snapshot_collections=READING))
    client = await serve(paths)
    records = records_of(client)
    await records.ask(client)
    first = records.figures()["since"]
    await records.ask(client)
    assert records.figures()["since"] == first == {"shop.customers": pytest.approx(time.time(), abs=60)}
    paths[f"{PATH}/offsets"] = {"offsets": [position()]}
    await records.ask(client)
    assert records.figures()["since"] == {}


def test_the_page_gives_the_watch_as_long_as_the_alert_gives_the_connector() -> None:
    assert [rule.for_s for rule in ORDER_RULES if rule.name == "ConnectorDown"] == [WATCHED_S]


def test_one_row_is_one_row() -> None:
    read = {"table": "orders", "rows": 1, "estimated": None, "is_under_way": False}
    part = {"counted_at": NOON, "reads": [read, {**read, "rows": 0, "estimated": 1}]}
    assert "about 1 row Read" in shown(part)
    assert "about 0 of about 1 row " in f"{shown(part)} "
