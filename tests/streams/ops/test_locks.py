"""Goal: the commands for locks count rightly, release nothing but claims, and not those of workers that run.

Method: locks written by the guard on a real Redis, a consumer as a worker on a real Kafka, the commands as a person
gives them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from agents.guard.guard import Answer, Claim, LockGuard, WhenAway
from agents.guard.locks import DATABASE, lock_key, token_of
from config.settings import KafkaSettings, RedisSettings
from ops.cli import main
from ops.topics import apply_topics
from stack.local import Stack
from stack.ports import free_ports
from streams.adapters.redis import RedisClient
from streams.runtime.partition.shared_ids import SHARED_ID
from streams.runtime.state.changelog import SOURCE_KEY
from streams.topics import ORDER_FINAL, catalogue, order_state_changelog

LIVENESS_S = 60.0
RETENTION_S = 7 * 86_400
OLD, NEW = "1" * 32, "2" * 32


@pytest.fixture(scope="module")
def stack(stack: Stack) -> Stack:
    """The shared servers, with the topics that the commands read."""
    specs = catalogue(dataset="project_db", app_id="millrace-orders", order_partitions=4)
    apply_topics(KafkaSettings.read(stack.environment()), specs)
    return stack


@pytest.fixture
def server(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the empty database of locks; the commands find the servers through the environment."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    url = RedisSettings.read(stack.environment()).url
    with contextlib.closing(redis.Redis.from_url(url, db=DATABASE, decode_responses=True)) as client:
        client.flushall()
        yield client


@pytest.fixture
def app_id() -> str:
    """An application of its own for each test, because the servers are shared."""
    return f"shop.orders-{uuid.uuid4().hex[:8]}"


def claim(stack: Stack, token: str, *order_ids: str, mark: bool = False) -> list[Answer]:
    """Claim orders as a worker does, and mark them if it is said."""

    async def run() -> list[Answer]:
        client = RedisClient(RedisSettings.read(stack.environment()).url, database=DATABASE)
        guard = LockGuard(client, retention_s=RETENTION_S, when_away=WhenAway.WAIT)
        await guard.start()
        answers = await guard.claim([Claim(order_id) for order_id in order_ids], token)
        if mark:
            done = asyncio.Event()
            guard.mark_emitted(order_ids, token, done.set)
            await asyncio.wait_for(done.wait(), LIVENESS_S)
        await guard.stop()
        return list(answers)

    return asyncio.run(run())


@contextlib.contextmanager
def worker_of(stack: Stack, app_id: str) -> Iterator[None]:
    """A member of the application's consumer group."""
    bootstrap = stack.environment()["KAFKA_BOOTSTRAP"]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(app_id, 1, 1)]).values():
        future.result()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": app_id})
    consumer.subscribe([app_id])
    deadline = time.monotonic() + LIVENESS_S
    while not consumer.assignment():
        assert time.monotonic() < deadline
        consumer.poll(0.1)
    try:
        yield
    finally:
        consumer.close()


def test_locks_are_counted_by_application_and_incarnation(
    stack: Stack, server: Any, app_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(stack, token_of(app_id, OLD), *(f"old-{number}" for number in range(2_500)))
    claim(stack, token_of(app_id, OLD), "old-0", "old-1", mark=True)
    claim(stack, token_of(app_id, NEW), "new-0", mark=True)
    server.expire(lock_key("old-2"), 3_630)
    server.set(lock_key("a"), "released")
    server.rpush(lock_key("b"), "a list")
    assert main(["locks", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["APPLICATION", "INCARNATION", "CLAIMED", "EMITTED", "OTHER", "SHORTEST", "LONGEST"]
    found = {tuple(line[:5]): line[5:] for line in lines[1:]}
    assert set(found) == {
        ("(released)", "-", "0", "0", "1"),
        ("(unreadable)", "-", "0", "0", "1"),
        (app_id, OLD, "2498", "2", "0"),
        (app_id, NEW, "0", "1", "0"),
    }
    assert " ".join(found[app_id, OLD, "2498", "2", "0"]).startswith("0d 01:00:")
    assert found["(released)", "-", "0", "0", "1"] == ["forever", "forever"]


def test_without_locks_that_is_said(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["locks", "list"]) == 0
    assert capsys.readouterr().out == "no locks\n"


def test_the_lock_of_an_order_is_shown(
    stack: Stack, server: Any, app_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(stack, token_of(app_id, OLD), "order-1")
    server.expire(lock_key("order-1"), 2 * 86_400 + 3_630)
    assert main(["locks", "show", "order-1"]) == 0
    assert main(["locks", "show", "order-2\n"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"order 'order-1': claimed by {app_id}, incarnation {OLD}; time to live: 2d 01:00:")
    assert second == "order 'order-2\\n' has no lock"


def test_a_retired_applications_claims_are_released_and_what_it_emitted_stays(
    stack: Stack, server: Any, app_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(stack, token_of(app_id, OLD), *(f"claimed-{number}" for number in range(3_000)))
    claim(stack, token_of(app_id, OLD), "emitted", mark=True)
    claim(stack, token_of(f"{app_id}0", OLD), "anothers")
    assert main(["locks", "release", "--app", app_id, "--dry-run"]) == 0
    assert server.get(lock_key("claimed-0")) == f"claimed:{app_id}:{OLD}"
    assert main(["locks", "release", "--app", app_id]) == 0
    assert capsys.readouterr().out.splitlines() == ["3000 claims would be released", "3000 claims released"]
    assert set(server.mget([lock_key(f"claimed-{number}") for number in range(3_000)])) == {"released"}
    assert RETENTION_S - 60 < server.ttl(lock_key("claimed-0")) <= RETENTION_S
    answers = claim(stack, token_of("successor", NEW), "claimed-0", "emitted", "anothers")
    assert answers == [Answer.ACQUIRED, Answer.EMITTED_ELSEWHERE, Answer.HELD]


def test_a_claim_on_an_order_that_is_out_is_marked_and_never_released(
    stack: Stack, server: Any, app_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker that died between its commit and its mark leaves one."""
    claim(stack, token_of(app_id, OLD), "out", "not out")
    producer = Producer({"bootstrap.servers": stack.environment()["KAFKA_BOOTSTRAP"]})
    producer.produce(ORDER_FINAL, key=b"out", value=b"{}")
    assert producer.flush(30) == 0
    for arguments in (["--dry-run"], []):
        assert main(["locks", "release", "--app", app_id, *arguments]) == 0
        released, marked = capsys.readouterr().out.splitlines()
        assert released.startswith("1 claim ")
        assert f"marked as emitted, because the order is in {ORDER_FINAL}: " in marked
    assert server.mget([lock_key("out"), lock_key("not out")]) == [f"emitted:{app_id}:{OLD}", "released"]


def test_an_order_whose_lock_vanished_can_be_let_go_unless_it_is_out(
    stack: Stack, server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = f"gone-{uuid.uuid4()}"
    assert main(["locks", "release", "--order", gone]) == 1
    assert "use --force" in capsys.readouterr().err
    assert main(["locks", "release", "--order", gone, "--force"]) == 0
    assert server.get(lock_key(gone)) == "released"
    server.delete(lock_key(gone))
    producer = Producer({"bootstrap.servers": stack.environment()["KAFKA_BOOTSTRAP"]})
    producer.produce(ORDER_FINAL, key=gone.encode(), value=b"{}")
    assert producer.flush(30) == 0
    assert main(["locks", "release", "--order", gone, "--force"]) == 1
    assert f"is in {ORDER_FINAL}" in capsys.readouterr().err
    assert server.get(lock_key(gone)) is None


def test_one_incarnation_can_be_released_alone(
    stack: Stack, server: Any, app_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(stack, token_of(app_id, OLD), "old")
    claim(stack, token_of(app_id, NEW), "new")
    assert main(["locks", "release", "--app", app_id, "--incarnation", OLD]) == 0
    assert capsys.readouterr().out == "1 claim released\n"
    assert server.mget([lock_key("old"), lock_key("new")]) == ["released", f"claimed:{app_id}:{NEW}"]


def test_one_order_can_be_released_unless_it_went_out(
    stack: Stack, server: Any, app_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(stack, token_of(app_id, OLD), "claimed", "claimed too")
    claim(stack, token_of(app_id, OLD), "emitted", mark=True)
    assert main(["locks", "release", "--order", "claimed"]) == 0
    assert [main(["locks", "release", "--order", name]) for name in ("emitted", "unknown")] == [1, 1]
    captured = capsys.readouterr()
    assert captured.out == "1 claim released\n"
    assert "order 'emitted' is emitted" in captured.err
    assert "order 'unknown' has no lock" in captured.err
    assert server.get(lock_key("claimed too")) == f"claimed:{app_id}:{OLD}"


def test_claims_of_workers_that_run_are_released_by_force_only(
    stack: Stack, server: Any, app_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(stack, token_of(app_id, OLD), "a", "b")
    with worker_of(stack, app_id):
        assert main(["locks", "release", "--app", app_id]) == 1
        assert main(["locks", "release", "--order", "a"]) == 1
        assert f"workers of {app_id} are still running (1)" in capsys.readouterr().err
        assert server.get(lock_key("a")) == f"claimed:{app_id}:{OLD}"
        assert main(["locks", "release", "--order", "a", "--force"]) == 0
    assert main(["locks", "release", "--app", app_id]) == 0
    assert server.mget([lock_key("a"), lock_key("b")]) == ["released", "released"]


def test_while_kafka_is_away_nothing_is_released(
    stack: Stack, server: Any, app_id: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(stack, token_of(app_id, OLD), "a")
    monkeypatch.setattr("ops.consumer_groups.ANSWER_S", 1.0)
    monkeypatch.setenv("KAFKA_BOOTSTRAP", f"127.0.0.1:{free_ports(['nobody'])['nobody']}")
    assert main(["locks", "release", "--app", app_id]) == 1
    assert f"can't check whether workers of {app_id} are running" in capsys.readouterr().err
    assert server.get(lock_key("a")) == f"claimed:{app_id}:{OLD}"


def test_a_redis_that_is_away_is_named(
    stack: Stack, server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_ports(["nobody"])["nobody"]
    monkeypatch.setenv("REDIS_URL", f"redis://:a-password@127.0.0.1:{port}")
    assert main(["locks", "list"]) == 1
    words = capsys.readouterr().err
    assert f"Redis at 127.0.0.1:{port}" in words
    assert "a-password" not in words


@pytest.mark.parametrize(
    "arguments",
    [["--app", "a:b"], ["--app", "a*"], ["--app", "a", "--incarnation", "1"], [], ["--app", "a", "--order", "b"]],
)
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["locks", "release", *arguments])
    assert "--help" in capsys.readouterr().err


def test_a_release_fences_workers_by_the_shared_ids_that_their_changelog_names(
    stack: Stack, server: Any, app_id: str
) -> None:
    """A worker that is frozen could otherwise publish an order whose claim was released."""
    kafka = KafkaSettings.read(stack.environment())
    apply_topics(kafka, catalogue(dataset="project_db", app_id=app_id, order_partitions=kafka.order_partitions))
    shared = f"{app_id}-shared-{uuid.uuid4()}"
    plain = Producer({"bootstrap.servers": kafka.bootstrap})
    headers: dict[str, str | bytes | None] = {SHARED_ID: shared}
    plain.produce(order_state_changelog(app_id), b"", SOURCE_KEY + SHARED_ID.encode(), partition=1, headers=headers)
    assert plain.flush(LIVENESS_S) == 0
    frozen = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": shared, "log_level": 2})
    frozen.init_transactions(LIVENESS_S)
    frozen.begin_transaction()
    frozen.produce(ORDER_FINAL, key=b"late", value=b"{}")
    assert frozen.flush(LIVENESS_S) == 0
    claim(stack, token_of(app_id, OLD), "late")
    assert main(["locks", "release", "--app", app_id]) == 0
    with pytest.raises(KafkaException) as fenced:
        frozen.commit_transaction(LIVENESS_S)
    assert fenced.value.args[0].code() in {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
