"""Goal: any record in `dead_letters` is listed without harm, and replayed only to topics it may go to.

Method: records made by the one writer of dead letters, and hostile ones by hand; a hand-written producer that keeps
transactions as Kafka does and rejects the records that a test names.
"""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from agents.dead_letters import LARGEST_KEPT_BYTES, dead_letter
from ops.cli import main, parser
from ops.dead_letters.commands import record_ref
from ops.dead_letters.letter import DeadLetter, Headers, Origin, RecordRef, ReplayNote, read_record
from ops.dead_letters.printing import bytes_text, hex_dump, moment, printable, short
from ops.dead_letters.replaying import CHUNK_BYTES, CHUNK_LETTERS, Replay, replay_fault
from ops.dead_letters.summary import KEPT_KEY_BYTES, MOST_REASONS, OTHER_REASONS, Selection, Summary
from stack.errors import StackError
from streams.runtime.testing import Consumed
from streams.topics import DEAD_LETTERS, change_topic

TOPIC = change_topic("project_db", "orders")
SOURCES = {TOPIC: 4}
HOSTILE = "\x1b[2J\r\nforged line\x00\x07\u2028\u202e"


def letter(
    offset: int = 0,
    *,
    key: bytes | None = b"k",
    value: bytes | None = b"{",
    headers: Headers | None = None,
    ms: int = 0,
) -> DeadLetter:
    """A dead letter; by default with good headers."""
    good = [("reason", b"bad"), ("app", b"a"), ("topic", TOPIC.encode())]
    good += [("partition", b"2"), ("offset", b"7"), ("timestamp", b"5")]
    record = read_record(RecordRef(0, offset), ms, key, value, good if headers is None else headers)
    assert isinstance(record, DeadLetter)
    return record


def headers(**changed: bytes | None) -> Headers:
    """Good headers with some changed; None removes one."""
    return [(n, v) for n, v in (dict(letter().headers) | changed).items() if v is not None]


# -- what a record is -------------------------------------------------------------------------------------------------


def test_what_an_application_writes_is_read_back() -> None:
    source = Consumed(TOPIC, 2, 17, b"\xffkey", None, timestamp=1_767_323_045_123)
    written = dead_letter(DEAD_LETTERS, source, "JSON is broken ☃", app_id="millrace-orders")
    read = read_record(RecordRef(2, 5), 9, written.key, written.value, written.headers)
    assert isinstance(read, DeadLetter)
    assert (read.key, read.value, read.reason, read.app) == (b"\xffkey", None, "JSON is broken ☃", "millrace-orders")
    assert read.origin == Origin(topic=TOPIC, partition=2, offset=17, timestamp_ms=1_767_323_045_123)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        *[(name, None) for name in ("topic", "partition", "offset", "timestamp")],
        *[("partition", raw) for raw in (b"", b"-1", b"x", b"1.0", b" 1", b"1\n", "٣".encode(), b"\xff", b"9" * 9_999)],
        ("topic", b""),
        ("offset", b"-5"),
    ],
)
def test_an_origin_that_is_missing_or_nonsense_is_said_and_never_replayed(name: str, raw: bytes | None) -> None:
    found = letter(headers=headers(**{name: raw}))
    assert found.origin is None
    assert found.fault is not None
    assert name in found.fault
    assert "origin is unknown" in (replay_fault(found, SOURCES) or "")


def test_a_record_without_any_header_is_a_letter_of_unknown_origin() -> None:
    assert letter(headers=[]).fault == "header topic is missing"


def test_a_note_says_which_letter_was_replayed() -> None:
    assert read_record(RecordRef(3, 9), 0, None, None, [("replayed", b"4")]) == ReplayNote(RecordRef(3, 4))


@pytest.mark.parametrize("raw", [b"", b"x", b"\xff"])
def test_a_note_that_says_nothing_is_a_letter_of_unknown_origin(raw: bytes) -> None:
    assert isinstance(read_record(RecordRef(3, 9), 0, None, None, [("replayed", raw)]), DeadLetter)


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_nothing_that_does_not_print_reaches_the_terminal() -> None:
    assert printable(HOSTILE).isprintable()
    assert bytes_text(HOSTILE.encode() + b"\xff\x1b").isprintable()
    assert printable("plain ☃ `'; ../") == "plain ☃ `'; ../"


@pytest.mark.parametrize("text", ["x" * 100, HOSTILE * 100, "\u202e" * 39, "x" * 39 + "\x00"])
def test_a_cut_text_is_no_wider_than_asked_for(text: str) -> None:
    assert len(short(text, 40)) == 40
    assert short(text, 40).isprintable()


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_767_323_045_123, "2026-01-02T03:04:05.123Z"), (-1, "-"), (10**18, "-")],
)
def test_times_are_utc_and_nonsense_is_a_dash(milliseconds: int, text: str) -> None:
    assert moment(milliseconds) == text


def test_bytes_that_are_no_text_are_dumped() -> None:
    assert list(hex_dump(b"\xffA" * 9)) == [
        "00000000  ff 41 ff 41 ff 41 ff 41 ff 41 ff 41 ff 41 ff 41  .A.A.A.A.A.A.A.A",
        "00000010  ff 41                                            .A",
    ]


def test_a_table_of_hostile_letters_has_one_printable_line_each() -> None:
    summary = Summary(Selection(), 10)
    evil = HOSTILE.encode()
    summary.add(letter(1, key=evil, headers=headers(reason=evil, app=evil, topic=evil)))
    summary.add(letter(2, key=evil + b"\xff", headers=[(HOSTILE, evil), ("reason", evil + b"\xff")]))
    cells = [cell for row in summary.newest() for cell in row.cells()]
    assert all(text.isprintable() for text in [*cells, *summary.reason_lines()])


def test_the_newest_are_kept_however_they_come() -> None:
    summary = Summary(Selection(), 2)
    for offset, ms in enumerate([50, 10, 40, 30]):
        summary.add(letter(offset, ms=ms))
    assert [row.place.offset for row in summary.newest()] == [0, 2]
    assert summary.total == 4


def test_no_letters_can_be_asked_for_where_only_totals_matter() -> None:
    summary = Summary(Selection(), 0)
    summary.add(letter())
    assert (summary.newest(), summary.total) == ([], 1)


def test_a_replayed_letter_is_marked() -> None:
    summary = Summary(Selection(), 10)
    for record in (letter(1), letter(2), ReplayNote(RecordRef(0, 1)), ReplayNote(RecordRef(0, 99))):
        summary.add(record)
    assert [row.replayed for row in summary.newest()] == [False, True]


def test_what_is_kept_does_not_grow_with_the_topic() -> None:
    summary = Summary(Selection(), 1)
    for offset in range(MOST_REASONS + 5):
        summary.add(letter(offset, key=b"k" * 10_000, headers=headers(reason=b"reason %d" % offset)))
    assert len(summary.reasons) == MOST_REASONS + 1
    assert summary.reasons[OTHER_REASONS] == 5
    [row] = summary.newest()
    assert (len(row.key), row.key_bytes) == (KEPT_KEY_BYTES, 10_000)
    assert len(summary.reason_lines()) < 30


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(reason="ba"), True),
        (Selection(reason="good"), False),
        (Selection(topic=TOPIC), True),
        (Selection(topic="order"), False),
        (Selection(app="a"), True),
        (Selection(app="b"), False),
        (Selection(key="k"), True),
        (Selection(key="other"), False),
        (Selection(since_ms=100), True),
        (Selection(since_ms=101), False),
    ],
)
def test_letters_are_selected_by_each_of_their_properties(selection: Selection, taken: bool) -> None:
    assert selection.takes(letter(ms=100)) is taken


def test_a_letter_of_unknown_origin_has_no_topic_to_be_selected_by() -> None:
    assert not Selection(topic=TOPIC).takes(letter(headers=headers(offset=None)))


# -- what is replayed -------------------------------------------------------------------------------------------------


class MemoryProducer:
    """A producer whose transactions are lists; `too_large` are values that the broker refuses.

    `failures` are the faults of the next commits, one each.
    """

    def __init__(self) -> None:
        self.committed: list[tuple[str, dict[str, Any]]] = []
        self.transactions = 0
        self.too_large: set[bytes] = set()
        self.failures: list[KafkaError] = []
        self._open: list[tuple[str, dict[str, Any]]] = []

    def init_transactions(self, timeout: float, /) -> None:
        return

    def begin_transaction(self) -> None:
        assert self._open == []

    def produce(self, topic: str, /, **record: Any) -> None:
        self._open.append((topic, record))

    def commit_transaction(self, timeout: float, /) -> None:
        if any(record.get("value") in self.too_large for _, record in self._open):
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if self.failures:
            raise KafkaException(self.failures.pop(0))
        self.committed += self._open
        self._open = []
        self.transactions += 1

    def abort_transaction(self, timeout: float, /) -> None:
        self._open = []

    def to(self, topic: str) -> list[dict[str, Any]]:
        """Committed records of a topic."""
        return [record for name, record in self.committed if name == topic]


class ReplayTestbed:
    """A replay around the producer in memory, and what it reported."""

    def __init__(self) -> None:
        self.producer = MemoryProducer()
        self.reports: list[tuple[RecordRef, str]] = []
        self.replay = Replay(self.producer, SOURCES, lambda letter, reason: self.reports.append((letter.place, reason)))


@pytest.fixture
def testbed() -> ReplayTestbed:
    return ReplayTestbed()


def test_a_letter_goes_back_to_its_topic_and_partition_with_a_note_beside_it(testbed: ReplayTestbed) -> None:
    testbed.replay.run([letter(8, key=b"\xff", value=None)])
    assert testbed.producer.committed == [
        (TOPIC, {"partition": 2, "key": b"\xff", "value": None, "headers": [("replayed_from", b"dead_letters/0/8")]}),
        (DEAD_LETTERS, {"partition": 0, "headers": [("replayed", b"8")]}),
    ]


def test_the_note_is_read_as_one(testbed: ReplayTestbed) -> None:
    testbed.replay.run([letter(8)])
    [note] = testbed.producer.to(DEAD_LETTERS)
    assert read_record(RecordRef(0, 9), 0, None, None, note["headers"]) == ReplayNote(RecordRef(0, 8))


def test_a_corrected_value_goes_in_place_of_the_bad_one(testbed: ReplayTestbed) -> None:
    testbed.replay.run([letter(8)], value=b"")
    [record] = testbed.producer.to(TOPIC)
    assert record["value"] == b""


def test_letters_that_were_replayed_before_are_left_alone(testbed: ReplayTestbed) -> None:
    assert (
        testbed.replay.run([letter(1), letter(2), letter(3)], done={RecordRef(0, 1), RecordRef(0, 3), RecordRef(1, 2)})
        == 2
    )
    assert [note["headers"] for note in testbed.producer.to(DEAD_LETTERS)] == [[("replayed", b"2")]]


@pytest.mark.parametrize("topic", ["order_final", "dead_letters", "__consumer_offsets", TOPIC.upper(), HOSTILE])
def test_a_letter_goes_to_source_topics_only(testbed: ReplayTestbed, topic: str) -> None:
    testbed.replay.run([letter(headers=headers(topic=topic.encode()))])
    assert testbed.producer.committed == []
    [(_, reason)] = testbed.reports
    assert "not one of the source topics" in reason
    assert reason.isprintable()


def test_a_letter_from_a_partition_that_does_not_exist_stays(testbed: ReplayTestbed) -> None:
    testbed.replay.run([letter(headers=headers(partition=b"4"))])
    assert (testbed.producer.committed, testbed.replay.rejected) == ([], 1)


def test_a_letter_that_kafka_refuses_costs_only_itself(testbed: ReplayTestbed) -> None:
    testbed.producer.too_large = {b"huge"}
    testbed.replay.run([letter(1), letter(2, value=b"huge"), letter(3)])
    assert [note["headers"][0][1] for note in testbed.producer.to(DEAD_LETTERS)] == [b"1", b"3"]
    assert [place for place, _ in testbed.reports] == [RecordRef(0, 2)]
    assert (testbed.replay.replayed, testbed.replay.rejected) == (2, 1)


def test_a_transaction_that_fails_after_a_refused_record_is_tried_again(testbed: ReplayTestbed) -> None:
    testbed.producer.failures = [KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)]
    testbed.replay.run([letter()])
    assert (testbed.replay.replayed, len(testbed.producer.to(TOPIC))) == (1, 1)


def test_a_fault_of_kafka_ends_the_replay_with_what_to_do(testbed: ReplayTestbed) -> None:
    testbed.producer.failures = [KafkaError(KafkaError._TIMED_OUT)] * 2
    with pytest.raises(StackError, match="run the command again"):
        testbed.replay.run([letter()])
    assert testbed.replay.replayed == 0


def test_a_replay_that_another_one_has_fenced_says_so(testbed: ReplayTestbed) -> None:
    testbed.producer.failures = [KafkaError(KafkaError._FENCED, "gone", fatal=True)]
    with pytest.raises(StackError, match="another replay has begun"):
        testbed.replay.run([letter()])


def test_a_transaction_is_bounded_in_letters_and_bytes(testbed: ReplayTestbed) -> None:
    testbed.replay.run(letter(offset) for offset in range(CHUNK_LETTERS + 1))
    assert testbed.producer.transactions == 2
    large = b"x" * CHUNK_BYTES
    testbed.replay.run(letter(offset, value=value) for offset, value in enumerate([b"1", b"2", large, b"3", b"4"]))
    assert testbed.producer.transactions == 2 + 3
    assert testbed.replay.replayed == CHUNK_LETTERS + 1 + 5


# -- the command line -------------------------------------------------------------------------------------------------


def test_a_record_reference_is_partition_and_offset() -> None:
    assert record_ref("2:17") == RecordRef(2, 17)


@pytest.mark.parametrize("text", ["", "2", "2:", ":17", "-1:0", "2:x", "1:2:3", "٣:٣", "2:1\n", "9" * 99 + ":1"])
def test_a_wrong_record_reference_is_rejected(text: str) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["dead-letters", "show", text])


@pytest.mark.parametrize("text", ["yesterday", "2x", "-1h", "999999d", "2026-13-01", ""])
def test_a_wrong_time_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["dead-letters", "list", "--since", text])


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "P:O, or --all"),
        (["1:2", "--all"], "P:O, or --all"),
        (["1:2", "--reason", "x"], "--reason and --topic"),
        (["--all", "--value", "f"], "exactly one P:O"),
        (["1:2", "1:3", "--value", "f"], "exactly one P:O"),
        (["1:2", "--value", "/no/such/file"], "/no/such/file: No such file"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dead-letters", "replay", *arguments]) == 2
    assert fault in capsys.readouterr().err


def test_a_letter_whose_value_was_left_out_is_replayed_with_a_corrected_value_only() -> None:
    source = Consumed(TOPIC, 1, 7, b"key", bytes(LARGEST_KEPT_BYTES + 1))
    record = dead_letter(DEAD_LETTERS, source, "too large", app_id="app")
    assert record.value is None
    found = read_record(RecordRef(1, 0), 0, record.key, record.value, record.headers)
    assert isinstance(found, DeadLetter)
    assert f"{LARGEST_KEPT_BYTES + 1} bytes was left out" in str(replay_fault(found, SOURCES))
    assert replay_fault(found, SOURCES, has_value=True) is None
