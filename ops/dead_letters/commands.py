"""Commands for dead letters, the records that could not be processed.

millrace dead-letters list       count the dead letters by reason, and list the newest
millrace dead-letters show       print all fields of one dead letter
millrace dead-letters replay     write the original records again to their topic and partition

Workers process a replayed record like any other: a change that is older than the known state of its row has no effect,
and a record that still cannot be processed becomes a new dead letter.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from config import parsing
from config.command_line import argument
from config.errors import UsageError
from config.json_output import add_json_option, print_json
from config.settings import DatasetSettings, KafkaSettings
from ops.context import add_stack_option, definition_of, settings_environment
from ops.dead_letters.details import LETTER_MEMBERS, letter_lines, letter_members
from ops.dead_letters.letter import DeadLetter, RecordRef, ReplayNote
from ops.dead_letters.printing import printable, table
from ops.dead_letters.reading import DeadLetterReader
from ops.dead_letters.replaying import Replay, replay_fault, transactional_id
from ops.dead_letters.summary import Selection, Summary
from ops.producer import transactional_producer
from stack.errors import StackError
from streams.topics import Direction, catalogue_of

_REPLAY_HELP = """\
replay dead letters to the topics they came from

Each record is written to its original topic and partition with unchanged key and value, and a header replayed_from.
The same Kafka transaction writes a note to dead_letters that the letter was replayed. Thanks to these notes, --all
replays each letter only once, even if the command is repeated or killed. A letter given as P:O is replayed even if it
was replayed before. Records are written only to source topics of the catalogue. A record that still cannot be processed
becomes a new dead letter, which the next --all replays. The exit code is 1 if a letter could not be replayed."""


def add_commands(subparsers: Any) -> None:
    """Add `dead-letters list`, `dead-letters show` and `dead-letters replay`."""
    parser = subparsers.add_parser("dead-letters", help="list, show and replay records that could not be processed")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    list_ = _add(actions, "list", run_list, "count dead letters by reason, and list the newest")
    _add_selection(list_)
    list_.add_argument("--key", metavar="TEXT", help="only letters whose key contains this text, such as an order id")
    list_.add_argument("--app", help="only letters written by this application")
    list_.add_argument(
        "--since",
        type=argument(parsing.point_in_time),
        metavar="TIME",
        help="only letters written since this time, as 2025-01-31T12:00 (UTC) or as 2h (ago)",
    )
    list_.add_argument("--limit", type=_count, default=50, metavar="N", help="show the newest N (default: 50)")
    add_json_option(
        list_,
        total="number of selected letters",
        reasons="number of letters by reason, the most frequent first",
        letters="the newest letters, as objects with `place`, `written_ms`, `origin` (`topic`, `partition`, `offset` "
        "and `timestamp_ms`; or null, with the `fault`), `app`, `key`, `key_bytes`, `value_bytes`, `reason` and "
        "`replayed`; times are in milliseconds since 1970",
    )
    show = _add(actions, "show", run_show, "show all fields of one dead letter")
    show.add_argument(
        "place", type=record_ref, metavar="P:O", help="partition and offset in dead_letters, as `list` shows them"
    )
    show.add_argument("--raw", action="store_true", help="print only the value, as raw bytes")
    add_json_option(show, letter=LETTER_MEMBERS)
    replay = _add(actions, "replay", run_replay, _REPLAY_HELP)
    replay.add_argument("places", type=record_ref, nargs="*", metavar="P:O", help="replay these dead letters")
    replay.add_argument("--all", action="store_true", help="replay all dead letters that have not been replayed yet")
    _add_selection(replay)
    replay.add_argument(
        "--value", type=Path, metavar="FILE", help="with one P:O: replace the value with the content of FILE"
    )
    replay.add_argument("--dry-run", action="store_true", help="report which letters would be replayed; write nothing")


def run_list(arguments: argparse.Namespace) -> int:
    """Print the number of dead letters per reason, and list the newest ones."""
    kafka, _ = _read_settings(arguments)
    since_ms = None if arguments.since is None else round(arguments.since.timestamp() * 1000)
    selection = Selection(
        reason=arguments.reason, topic=arguments.topic, app=arguments.app, key=arguments.key, since_ms=since_ms
    )
    summary = Summary(selection, arguments.limit)
    with DeadLetterReader(kafka.bootstrap) as reader:
        for record in reader.records():
            summary.add(record)
    if arguments.json:
        return print_json(arguments, **summary.fields())
    print(f"{summary.total} dead letters")
    rows = summary.newest()
    lines = [*summary.reason_lines(), *(table([summary.HEAD, *(row.cells() for row in rows)]) if rows else ())]
    for line in lines:
        print(line)
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Print all fields of one dead letter."""
    kafka, _ = _read_settings(arguments)
    with DeadLetterReader(kafka.bootstrap) as reader:
        letter = reader.at(arguments.place)
    if arguments.json:
        return print_json(arguments, letter=letter_members(letter))
    if arguments.raw:
        if letter.value is None:
            raise StackError(f"dead letter {letter.place} has no value")
        sys.stdout.flush()
        sys.stdout.buffer.write(letter.value)
        sys.stdout.buffer.flush()
        return 0
    for line in letter_lines(letter):
        print(line)
    return 0


def run_replay(arguments: argparse.Namespace) -> int:
    """Replay the selected dead letters; return 1 if any could not be replayed."""
    value = _checked_value(arguments)
    kafka, dataset = _read_settings(arguments)
    with DeadLetterReader(kafka.bootstrap) as reader:
        sources = {
            spec.name: reader.partitions(spec.name)
            for spec in catalogue_of(
                definition_of(dataset.dataset),
                app_id=dataset.orders_app_id,
                order_partitions=kafka.order_partitions,
            )
            if spec.direction is Direction.IN
        }
        if arguments.dry_run:
            return _dry_run(reader, arguments, sources)
        producer = transactional_producer(kafka.bootstrap, transactional_id(dataset.orders_app_id))
        replay = Replay(producer, sources, _report)
        replay.begin()
        if arguments.all:
            skipped = replay.run(_selected(reader, arguments), done=_replayed(reader))
        else:
            skipped = replay.run([reader.at(each) for each in dict.fromkeys(arguments.places)], value=value)
    print(f"{replay.replayed} replayed, {skipped} already replayed, {replay.rejected} could not be replayed")
    return 1 if replay.rejected else 0


def _dry_run(reader: DeadLetterReader, arguments: argparse.Namespace, sources: dict[str, int]) -> int:
    done = _replayed(reader)
    letters = _selected(reader, arguments) if arguments.all else map(reader.at, dict.fromkeys(arguments.places))
    would = skipped = rejected = 0
    for letter in letters:
        if arguments.all and letter.place in done:
            skipped += 1
            continue
        reason = replay_fault(letter, sources)
        if reason is not None:
            rejected += 1
            _report(letter, reason)
            continue
        would += 1
        again = ", again" if letter.place in done else ""
        assert letter.origin is not None
        print(f"{letter.place} would be written to {letter.origin.topic}, partition {letter.origin.partition}{again}")
    print(f"{would} would be replayed, {skipped} already replayed, {rejected} not replayable; nothing was written")
    return 1 if rejected else 0


def _selected(reader: DeadLetterReader, arguments: argparse.Namespace) -> Any:
    selection = Selection(reason=arguments.reason, topic=arguments.topic)
    return (record for record in reader.records() if isinstance(record, DeadLetter) and selection.takes(record))


def _replayed(reader: DeadLetterReader) -> set[RecordRef]:
    """Return the positions of all replayed letters; only these positions are kept in memory."""
    return {record.place for record in reader.records() if isinstance(record, ReplayNote)}


def _report(letter: DeadLetter, reason: str) -> None:
    print(f"dead letter {letter.place} was not replayed: {printable(reason)}", file=sys.stderr)


def record_ref(text: str) -> RecordRef:
    """Parse `partition:offset`."""
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,18})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form partition:offset, such as 2:17")
    return RecordRef(int(match[1]), int(match[2]))


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 999999")
    return int(text)


def _add(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text.split("\n", 1)[0], description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_stack_option(parser)
    parser.set_defaults(run=run)
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", metavar="TEXT", help="only letters whose reason contains this text")
    parser.add_argument("--topic", help="only letters whose record came from this topic")


def _checked_value(arguments: argparse.Namespace) -> bytes | None:
    """Check the combination of options, and return the corrected value if one is given."""
    if arguments.all == bool(arguments.places):
        raise UsageError("specify the dead letters to replay: one or more P:O, or --all")
    if arguments.places and (arguments.reason is not None or arguments.topic is not None):
        raise UsageError("--reason and --topic can be used only with --all")
    if arguments.value is None:
        return None
    if len(arguments.places) != 1:
        raise UsageError("--value can be used only with exactly one P:O")
    try:
        return bytes(arguments.value.read_bytes())
    except OSError as error:
        raise UsageError(f"{arguments.value}: {error.strerror}") from None


def _read_settings(arguments: argparse.Namespace) -> tuple[KafkaSettings, DatasetSettings]:
    environment = settings_environment(arguments)
    return KafkaSettings.read(environment), DatasetSettings.read(environment)
