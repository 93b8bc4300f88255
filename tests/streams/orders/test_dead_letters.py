"""Goal: dead letters can be found, shown, corrected and replayed; `--all` replays each once, also when it is killed.

Method: the commands as a person calls them, on real Kafka: one pipeline with a worker for the way of a letter, and one
Kafka without workers where the tests write the letters themselves and count what comes back, read committed.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from config.settings import KafkaSettings, environment_with
from ops.cli import main
from ops.dead_letters.letter import RecordRef
from ops.dead_letters.reading import DeadLetterReader
from ops.dead_letters.replaying import Replay, transactional_id
from ops.producer import transactional_producer
from ops.topics import apply_topics
from stack.errors import StackError
from stack.local import Stack
from stack.process import Process, start
from stack.site import REPOSITORY
from streams.topics import DEAD_LETTERS, ORDER_FINAL, REPLAYED_FROM_HEADER, catalogue, change_topic
from tests.streams.orders.live_shop import Shop, TopicTail, line, new_id
from tests.support.builders import created, order_row
from tests.support.kafka import Record, read_topics
from tests.support.server_waiting import LIVENESS_S, until

ORDERS = change_topic("project_db", "orders")
APP = "millrace-orders"


# -- the way of a letter ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
def test_a_bad_record_is_found_corrected_and_replayed(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", shop.environment["KAFKA_BOOTSTRAP"])
    id_ = new_id()
    bad = created(order_row(id_, num_products="one"))
    shop.produce(ORDERS, id_.encode(), bad)
    shop.transaction(line(id_, 1))
    [dead] = shop.tail.wait(DEAD_LETTERS, id_)

    assert main(["dead-letters", "list", "--json", "--limit", "1000", "--reason", "num_products"]) == 0
    listed = json.loads(capsys.readouterr().out)
    [found] = [each for each in listed["letters"] if each["key"] == id_]
    assert f"{found['origin']['partition']}" == dead.headers["partition"]
    assert f"{found['origin']['offset']}" == dead.headers["offset"]
    assert main(["dead-letters", "show", found["place"]]) == 0
    assert bad.decode() in capsys.readouterr().out

    corrected = tmp_path / "corrected.json"
    corrected.write_bytes(created(order_row(id_, num_products=1, payment_method_id=1)))
    assert main(["dead-letters", "replay", found["place"], "--value", str(corrected)]) == 0
    assert "1 replayed" in capsys.readouterr().out
    [record] = shop.tail.wait(ORDER_FINAL, id_)
    assert record.value["num_products"] == 1
    assert str(record.partition) == dead.headers["partition"]


# -- letters of the tests' own ----------------------------------------------------------------------------------------


class Letters:
    """`dead_letters` and the topic of orders in a Kafka without workers; each test has a new reason of its own."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.bootstrap = environment["KAFKA_BOOTSTRAP"]
        self.reason = new_id()
        self.tail = TopicTail(self.bootstrap, [ORDERS])
        self._producer = Producer(
            {"bootstrap.servers": self.bootstrap, "message.max.bytes": 16_000_000, "log_level": 2}
        )

    def write(self, *values: bytes, **changed: str) -> None:
        """Dead letters with these values, in all partitions in turn, each from the partition after its own."""
        for number, value in enumerate(values):
            partition = number % 4
            headers = {
                "reason": self.reason,
                "app": APP,
                "topic": ORDERS,
                "partition": str((partition + 1) % 4),
                "offset": str(number),
                "timestamp": "0",
            } | changed
            self._producer.produce(
                DEAD_LETTERS,
                partition=partition,
                key=f"{self.reason}/{number}",
                value=value,
                headers=[(name, text.encode()) for name, text in headers.items()],
            )
        assert self._producer.flush(30) == 0

    def replay(self, *arguments: str) -> int:
        """`replay --all` of this test's letters."""
        return main(["dead-letters", "replay", "--all", "--reason", self.reason, *arguments])

    def replayed(self) -> list[Record]:
        """The records that were replayed from this test's letters so far."""
        found = read_topics(self.bootstrap, ORDERS)
        return [record for record in found if (record.key or b"").startswith(self.reason.encode())]

    def places(self) -> list[RecordRef]:
        """Where this test's letters are."""
        with DeadLetterReader(self.bootstrap) as reader:
            return [each.place for each in reader.records() if getattr(each, "reason", None) == self.reason]


@pytest.fixture(scope="module")
def kafka(servers_for_bad_records: Stack) -> Stack:
    """Kafka with the topics of a dataset that no worker reads there."""
    specs = catalogue(dataset="project_db", app_id=APP, order_partitions=4)
    apply_topics(KafkaSettings.read(servers_for_bad_records.environment()), specs)
    return servers_for_bad_records


@pytest.fixture
def letters(kafka: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Letters]:
    """Letters of one test."""
    letters = Letters(kafka.environment())
    monkeypatch.setenv("KAFKA_BOOTSTRAP", letters.bootstrap)
    yield letters
    letters.tail.close()


def test_all_letters_are_replayed_once_however_often_the_command_is_called(letters: Letters) -> None:
    letters.write(*[b"%d" % i for i in range(10)])
    assert [letters.replay() for _ in range(3)] == [0, 0, 0]
    records = letters.replayed()
    assert sorted(record.value or b"" for record in records) == sorted(b"%d" % i for i in range(10))
    letters.write(b"later")
    assert letters.replay() == 0
    assert len(letters.replayed()) == 11


def test_a_record_goes_back_to_the_partition_it_came_from_and_names_its_letter(letters: Letters) -> None:
    letters.write(b"0", b"1", b"2", b"3")
    letters.replay()
    assert sorted((record.value, record.partition) for record in letters.replayed()) == [
        (b"0", 1), (b"1", 2), (b"2", 3), (b"3", 0)
    ]  # fmt: skip
    named = {record.headers[REPLAYED_FROM_HEADER] for record in letters.replayed()}
    assert named == {f"{DEAD_LETTERS}/{place.partition}/{place.offset}" for place in letters.places()}


def test_a_selection_leaves_the_others_for_later(letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
    letters.write(b"a", b"b", b"c", b"d")
    letters.write(b"e", b"f", topic=change_topic("project_db", "order_details"))
    assert letters.replay("--topic", ORDERS) == 0
    assert "4 replayed, 0 already replayed, 0 could not" in capsys.readouterr().out
    assert letters.replay() == 0
    assert "2 replayed, 4 already replayed, 0 could not" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
    letters.write(b"a", b"b")
    assert letters.replay("--dry-run") == 0
    assert "2 would be replayed" in capsys.readouterr().out
    assert letters.replayed() == []
    assert letters.replay() == 0
    assert len(letters.replayed()) == 2


def test_a_letter_is_shown_without_harm_and_its_bytes_are_had_as_they_are(
    letters: Letters, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    hostile = "\x1b[2J\r\n[forged] ☃\u202e".encode()
    for value in (hostile, hostile + b"\xff", b""):
        letters.write(value)
        place = str(max(letters.places()))
        assert main(["dead-letters", "show", place]) == 0
        shown = capsysbinary.readouterr().out
        assert shown.decode().replace("\n", "").isprintable()
        assert b"\n[forged]" not in shown
        assert main(["dead-letters", "show", place, "--raw"]) == 0
        assert capsysbinary.readouterr().out == value


def test_a_terminal_that_lacks_a_character_gets_its_escape(letters: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    letters.write("☃".encode())
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["dead-letters", "show", str(max(letters.places()))]) == 0
    terminal.flush()
    assert isinstance(terminal.buffer, io.BytesIO)
    assert b"\\u2603" in terminal.buffer.getvalue()


@pytest.mark.parametrize("place", ["0:999999999", "4:0"])
def test_a_place_without_a_letter_is_named(letters: Letters, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", "show", place]) == 1
    assert f"there is no dead letter at {place}" in capsys.readouterr().err


def test_the_place_of_a_note_is_named_as_such(letters: Letters, capsys: pytest.CaptureFixture[str]) -> None:
    letters.write(b"a")
    letters.replay()
    [letter] = letters.places()
    note = RecordRef(letter.partition, letter.offset + 1)
    assert main(["dead-letters", "replay", str(note)]) == 1
    assert f"is the note that {letter} was replayed" in capsys.readouterr().err


def test_a_letter_that_is_named_is_replayed_again_and_then_passed_over_by_all(letters: Letters) -> None:
    letters.write(b"a")
    [place] = letters.places()
    for _ in range(2):
        assert main(["dead-letters", "replay", str(place)]) == 0
    assert letters.replay() == 0
    assert [record.value for record in letters.replayed()] == [b"a", b"a"]


def test_letters_that_cannot_go_back_are_named_and_hold_up_nobody(
    letters: Letters, capsys: pytest.CaptureFixture[str]
) -> None:
    letters.write(b"a")
    letters.write(b"evil", topic=ORDER_FINAL)
    letters.write(b"evil", partition="4")
    letters.write(b"evil", offset="x")
    letters.write(os.urandom(2_000_000))
    letters.write(b"b")
    assert letters.replay() == 1
    printed = capsys.readouterr()
    assert "2 replayed, 0 already replayed, 4 could not be replayed" in printed.out
    for reason in ("not one of the source topics", "no partition 4", "header offset is not a number", "too large"):
        assert reason in printed.err
    assert sorted(record.value or b"" for record in letters.replayed()) == [b"a", b"b"]


class DyingError(Exception):
    """Stands for the end of the process."""


class Dying:
    """A producer whose process dies when everything is written and nothing committed."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.init_transactions = producer.init_transactions
        self.begin_transaction = producer.begin_transaction
        self.produce = producer.produce
        self.abort_transaction = producer.abort_transaction

    def commit_transaction(self, timeout: float, /) -> None:
        self._producer.flush(timeout)
        raise DyingError


def test_what_a_killed_replay_left_open_is_replayed_by_the_next_and_the_dead_one_cannot_come_back(
    letters: Letters,
) -> None:
    letters.write(*[b"%d" % i for i in range(5)])
    producer = transactional_producer(letters.bootstrap, transactional_id(APP))
    with DeadLetterReader(letters.bootstrap) as reader:
        dying = Replay(Dying(producer), {ORDERS: 4}, lambda letter, reason: pytest.fail(reason))
        dying.begin()
        with pytest.raises(DyingError):
            dying.run([reader.at(place) for place in letters.places()])
    assert letters.replay() == 0
    with pytest.raises(KafkaException):
        producer.commit_transaction(10)
    assert len(letters.replayed()) == 5


def test_a_replay_that_is_overtaken_by_another_ends_and_repeats_nothing(letters: Letters) -> None:
    letters.write(b"a", b"b")
    places = letters.places()
    with DeadLetterReader(letters.bootstrap) as reader:
        slow = Replay(
            transactional_producer(letters.bootstrap, transactional_id(APP)),
            {ORDERS: 4},
            lambda letter, reason: pytest.fail(reason),
        )
        slow.begin()
        found = [reader.at(place) for place in places]
        assert letters.replay() == 0
        with pytest.raises(StackError, match="another replay has begun"):
            slow.run(found)
    assert len(letters.replayed()) == 2


def test_a_command_that_is_killed_again_and_again_replays_each_letter_once(letters: Letters, tmp_path: Path) -> None:
    count = 20_000
    letters.write(*[b"%d" % i for i in range(count)])
    log = tmp_path / "replay.log"
    command = [sys.executable, "-m", "stack", "dead-letters", "replay", "--all", "--reason", letters.reason]
    environment = environment_with({**letters.environment, "PYTHONPATH": str(REPOSITORY)})
    for _ in range(3):
        kill_on_progress(letters, start(command, environment=environment, log=log, die_with_parent=True))
    assert letters.replay() == 0
    times = Counter(record.value for record in letters.replayed())
    assert len(times) == count
    assert set(times.values()) == {1}


def kill_on_progress(letters: Letters, process: Process) -> None:
    """Kill a replay as soon as something more has come back."""
    before = len(letters.replayed())

    def something_more() -> bool:
        letters.tail.poll(0.01)
        return len(letters.tail.records) > seen or process.wait_ended(0)

    seen = len(letters.tail.records)
    until(something_more, "something more comes back")
    process.send(signal.SIGKILL)
    assert process.wait_ended(LIVENESS_S)
    print(f"{before} before, {len(letters.replayed())} after a kill")
