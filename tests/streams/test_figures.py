"""Goal: each change is counted once in Redis, whoever writes and whatever Redis loses.

Method: the committers of `streams.metrics` on the shared Redis, without Kafka; and workers that are killed, on topics
that the test writes. Keys are those of the application, in its own database, which each test empties.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from config.settings import RedisSettings
from demo.workers import Worker
from stack.local import Stack
from stack.ports import free_ports
from streams.adapters.redis import RedisClient
from streams.model.errors import SinkAwayError
from streams.model.figures import Figure, minutes_before
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from tables.figures import BULK, DATABASE, HIGH_VALUE, MOST_ALERTS, VELOCITY, FigureCommitter, FigureSink
from tables.views.sales import LARGEST_RESULT_BYTES, Sales
from tests.streams.orders.deployments import FedShop
from tests.streams.warehouse.warehouse_rows import IdleWorker
from tests.support.builders import order_row, updated
from tests.support.server_waiting import until

TOPIC = "dbserver1.public.orders"
AT_MS = 1_767_323_045_678
MINUTE = "202601020304"


def placed(order: str = "o1", cents: int = 1_234, minute: str = MINUTE) -> Figure:
    """What a new order adds."""
    return Figure("created", AT_MS, minute, order=order, orders=1, cents=cents, customer="7")


def changed(order: str = "o1", cents: int = 1_234, at_ms: int = AT_MS) -> Figure:
    """What a changed order corrects."""
    return Figure("updated", at_ms, MINUTE, order=order, cents=cents)


def gone(order: str = "o1") -> Figure:
    """What a deleted order takes back."""
    return Figure("deleted", AT_MS, MINUTE, order=order, orders=-1)


@pytest.fixture
def client(stack: Stack) -> Iterator[Any]:
    url = RedisSettings.read(stack.environment()).url
    with contextlib.closing(redis.Redis.from_url(url, db=DATABASE, decode_responses=True)) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
async def sink(stack: Stack, client: Any) -> AsyncIterator[FigureSink]:
    app = cast(TransactionalApp, IdleWorker("figures"))
    url = RedisSettings.read(stack.environment()).url
    sink = FigureSink(RedisClient(url, database=DATABASE), app, window_s=600, bulk=20, dataset="shop")
    yield sink
    await sink.client.close()


async def opened(sink: FigureSink, *, partition: int = 0) -> tuple[FigureCommitter, int | None]:
    committer = sink.committers(TOPIC, "orders", has_orders=True)(partition)
    await committer.open()
    return committer, (await committer.committed())[TOPIC]


async def add(committer: FigureCommitter, offset: int, *figures: Figure) -> None:
    records = [OutputRecord("figures", None, None, content=figure) for figure in figures]
    await committer.commit(records, {TOPIC: offset})


async def test_figures_of_a_turn_are_added_with_its_offset(sink: FigureSink, client: Any) -> None:
    committer, start = await opened(sink)
    assert start is None
    await add(committer, 2, Figure("read", AT_MS, country=("7", "DE")), placed())
    await add(committer, 5, placed("o2"), changed("o2", 1_200, AT_MS + 1), Figure("deleted", 5))
    stats = {"created": "2", "updated": "1", "deleted": "1", "read": "1", "last_change_ms": str(AT_MS + 1)}
    assert client.hgetall("cdc:stats:orders") == stats
    assert client.hgetall(f"realtime:metrics:orders:{MINUTE}") == {"orders": "2", "revenue_cents": "2434"}
    assert client.hgetall(f"realtime:metrics:countries:{MINUTE}") == {"DE": "2"}
    assert (await opened(sink))[1] == 5
    assert 0 < client.ttl(f"realtime:metrics:orders:{MINUTE}") <= 600
    assert 0 < client.ttl(f"realtime:metrics:countries:{MINUTE}") <= 600


async def test_only_an_order_that_was_counted_is_corrected_or_taken_back(sink: FigureSink, client: Any) -> None:
    committer, _ = await opened(sink)
    await add(committer, 1, Figure("read", AT_MS), changed("read before", 99), gone("read before"))
    assert client.hgetall(f"realtime:metrics:orders:{MINUTE}") == {}
    await add(committer, 2, placed(), placed("o2", 700), placed(), changed("o2", 10**15))
    assert client.hgetall(f"realtime:metrics:orders:{MINUTE}") == {
        "orders": "2", "revenue_cents": str(10**15 + 1_234),
    }  # fmt: skip
    await add(committer, 3, gone("o2"), gone("o2"), changed("o2", 5))
    assert client.hgetall(f"realtime:metrics:orders:{MINUTE}") == {"orders": "1", "revenue_cents": "1234"}
    assert client.hgetall(f"realtime:metrics:countries:{MINUTE}") == {"unknown": "2"}


async def test_a_former_owner_adds_nothing_and_lost_data_is_noticed(sink: FigureSink, client: Any) -> None:
    zombie, _ = await opened(sink)
    owner, _ = await opened(sink)
    await add(owner, 2, placed())
    with pytest.raises(SinkAwayError):
        await add(zombie, 2, placed())
    assert client.hget("cdc:stats:orders", "created") == "1"
    client.flushdb()
    with pytest.raises(SinkAwayError):
        await owner.check()
    again, start = await opened(sink)
    assert start is None
    await add(again, 2, placed())
    assert client.hget(f"realtime:metrics:orders:{MINUTE}", "orders") == "1"


async def test_an_order_of_an_unknown_or_deleted_customer_counts_as_unknown(sink: FigureSink, client: Any) -> None:
    committer, _ = await opened(sink)
    await add(committer, 1, placed())
    await add(committer, 2, Figure("created", AT_MS, country=("7", "DE")))
    await add(committer, 3, placed("o2"))
    await add(committer, 4, Figure("deleted", AT_MS, country=("7", None)))
    await add(committer, 5, placed("o3"))
    assert client.hgetall(f"realtime:metrics:countries:{MINUTE}") == {"unknown": "2", "DE": "1"}


async def test_two_datasets_share_a_redis_only_with_keys_of_their_own(
    stack: Stack, sink: FigureSink, client: Any
) -> None:
    committer, _ = await opened(sink)
    await add(committer, 1, placed())
    url = RedisSettings.read(stack.environment()).url
    options: dict[str, Any] = {"window_s": 600, "bulk": 1, "dataset": "store"}
    app = cast(TransactionalApp, IdleWorker("figures of store"))
    other = FigureSink(RedisClient(url, database=DATABASE), app, **options)
    with pytest.raises(SinkAwayError, match="METRICS_KEY_PREFIX, such as store:"):
        await opened(other)
    other.prefix = "store:"
    own, _ = await opened(other)
    await add(own, 1, placed("o7", 5), Figure("created", AT_MS, quantity=("o7", 2), country=("7", "DE")))
    await own.check()
    assert client.hgetall(f"realtime:metrics:orders:{MINUTE}") == {"orders": "1", "revenue_cents": "1234"}
    names = {key.removesuffix(MINUTE) for key in client.keys("store:*")}
    assert names == {f"store:{name}" for name in (
        "cdc:stats:orders", "realtime:metrics:orders:", "realtime:metrics:countries:", "realtime:metrics:velocity",
        "metrics:counted:", "metrics:countries", "metrics:quantity:o7", "metrics:dataset", "alerts:bulk",
    )}  # fmt: skip
    await other.client.close()


async def test_the_page_reads_what_was_counted_and_what_the_lake_has_published(
    stack: Stack, sink: FigureSink, client: Any
) -> None:
    minute = minutes_before(time.time(), 2)[-1]
    committer, _ = await opened(sink)
    await add(committer, 1, Figure("read", AT_MS, country=("7", "DE")), placed("o1", 1_234, minute))
    await add(committer, 2, placed("o2", 66, minute))
    url = RedisSettings.read(stack.environment()).url
    page = Sales(
        RedisClient(url, database=DATABASE), RedisClient(url, database=DATABASE), prefix="", names=["t", "big"]
    )
    client.set("analytics:t", '{"table": "t", "time": "now", "rows": [{"segment": "Gold", "customers": 2}]}')
    client.set("analytics:big", "x" * (LARGEST_RESULT_BYTES + 1))
    await page.ask()
    await page.on_stop()
    found = page.figures()
    assert (sum(found["orders"]), sum(found["cents"]), found["countries"]) == (2, 1_300, {"DE": 2})
    assert found["results"] == [
        {"name": "t", "time": "now", "heads": ["segment", "customers"], "rows": [["Gold", "2"]]}
    ]


async def test_high_values_and_bulk_raise_one_alert_each(sink: FigureSink, client: Any) -> None:
    committer, _ = await opened(sink)
    await add(committer, 1, Figure("created", AT_MS, MINUTE, "o1", 1, 10**15, high=("o1", 10**15)))
    for offset, pieces in enumerate((12, 7, 1, 5), 2):
        await add(committer, offset, Figure("created", AT_MS, quantity=("o2", pieces)))
    assert [fields for _, fields in client.xrange(HIGH_VALUE)] == [{"order": "o1", "total_cents": str(10**15)}]
    assert [fields for _, fields in client.xrange(BULK)] == [{"order": "o2", "quantity": "20"}]
    assert client.hget(f"realtime:metrics:orders:{MINUTE}", "revenue_cents") == str(10**15)
    many = [Figure("created", AT_MS, high=(f"o{number}", 100_000)) for number in range(2 * MOST_ALERTS)]
    await add(committer, 6, *many)
    assert client.xlen(HIGH_VALUE) < 1.5 * MOST_ALERTS


async def test_the_velocity_follows_the_clock_and_falls_to_zero(sink: FigureSink, client: Any) -> None:
    committer, _ = await opened(sink)
    other, _ = await opened(sink, partition=1)
    await other.check()
    assert client.get(VELOCITY) is None
    newest, *_, oldest = minutes_before(time.time(), 4)
    await add(committer, 1, *[placed(f"{n}", 0, (newest, oldest)[n % 2]) for n in range(10)])
    await committer.check()
    assert client.get(VELOCITY) == "2.00"
    client.delete(*client.keys("realtime:metrics:orders:*"))
    await committer.check()
    assert client.get(VELOCITY) == "0.00"
    assert 0 < client.ttl(VELOCITY) <= 30


def test_workers_that_are_killed_count_every_change_once(stack: Stack, client: Any, tmp_path: Path) -> None:
    shop = FedShop(stack, tmp_path)
    environment = shop.environment | {"METRICS_APP_ID": f"{shop.dataset}-metrics"}
    workers: list[Worker] = []

    def start() -> Worker:
        [port] = free_ports(["worker"]).values()
        workers.append(Worker(web_port=port, environment=environment, folder=tmp_path, application="streams.metrics"))
        workers[-1].start()
        workers[-1].wait_ready()
        return workers[-1]

    def counted() -> int:
        return sum(int(client.hget(key, "orders")) for key in client.keys("realtime:metrics:orders:*"))

    def place(number: int) -> None:
        row = order_row(f"order-{number}", timestamp=datetime.now(UTC).isoformat())
        shop.write("orders", row["id"], row)
        shop.write("orders", row["id"], row, op=lambda after, **at: updated(after, after, **at))

    for number in range(100):
        place(number)
        if number in (0, 30, 60):
            start()
        if number in (20, 50):
            workers[-1].kill()
    until(lambda: counted() == 100, "every order is counted once")
    until(lambda: client.hget("cdc:stats:orders", "updated") == "100", "every update is counted once")
    assert client.hget("cdc:stats:orders", "created") == "100"
    assert workers[-1].stop()
    shop.close()
