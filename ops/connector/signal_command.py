"""The command `millrace connector signal`: read a table again while the connector goes on following the log."""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection
from contextlib import closing
from typing import Final

from config.definition import Definition, Table
from config.engines import engine_of
from config.settings import ConnectSettings, KafkaSettings
from ops.connector.doubtful_reads import DoubtfulReads
from ops.connector.first_reads import condition_of
from ops.connector.reads import RIGHTS, Reads
from ops.connector.rest import ConnectClient
from ops.connector.sweep import has_comparable_key
from ops.connector.topic_rows import SeenRows
from ops.context import settings_environment
from ops.topics import apply_topics
from stack.errors import StackError
from streams.topics import SIGNALS_SPEC, topic_under

_SAY_S: Final = 2.0

TRIES: Final = 5
"""How often rows that may have been read out of date are read again."""


class Progress:
    """Rows of a table that are to arrive in its topic; prints from time to time how many have.

    Args:
        wanted: keys of the rows that the database had when the connector was asked.
        seen: rows that have arrived since.
    """

    def __init__(self, table: str, wanted: Collection[tuple[str, ...]], seen: SeenRows) -> None:
        self._table = table
        self._wanted = set(wanted)
        self._seen = seen
        self._said_at = time.monotonic()

    @property
    def doubtful(self) -> set[tuple[str, ...]]:
        """Keys of the rows that may have been read out of date."""
        return self._seen.doubtful

    def look(self) -> int:
        """Read what has arrived; return how many rows have not."""
        self._seen.look()
        return len(self._wanted - self._seen.keys)

    def poll(self) -> None:
        """Look, and print the count every few seconds."""
        missing = self.look()
        if time.monotonic() - self._said_at >= _SAY_S:
            self._said_at = time.monotonic()
            print(f"{self._table}: {len(self._wanted) - missing:,} of {len(self._wanted):,} rows", flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--table", metavar="TABLE", required=True, help="table to read")
    parser.add_argument("--where", metavar="SQL", help="read only the rows that meet this condition, such as 'id <= 9'")
    parser.add_argument("--wait", action="store_true", help="show how far the read is, and wait until it is complete")
    parser.add_argument("--stop", action="store_true", help="end the reads of the table; what was read stays")


def run(arguments: argparse.Namespace, definition: Definition, settings: ConnectSettings) -> int:
    """Ask the connector to read a table, or to end its reads."""
    name = arguments.table
    try:
        table = definition.table(name)
    except KeyError as error:
        raise StackError(error.args[0]) from None
    if arguments.stop and (arguments.wait or arguments.where):
        raise StackError("--stop ends all reads of the table: leave out --wait and --where")
    if arguments.wait and not has_comparable_key(table):
        raise StackError(f"{name}: the values of its key can be written in several ways: leave out --wait")
    environment = settings_environment(arguments)
    kafka = KafkaSettings.read(environment)
    with ConnectClient(settings.url) as connect:
        reads = Reads(definition, engine_of(definition).login(environment), connect)
        apply_topics(kafka, [SIGNALS_SPEC])
        topic = topic_under(definition.topic_prefix, name)
        if arguments.stop:
            with closing(SeenRows(kafka.bootstrap, topic, table, is_alive=True)) as seen:
                stop(reads, table, seen)
            return 0
        doubts = DoubtfulReads() if definition.engine == "postgres" else None
        with closing(SeenRows(kafka.bootstrap, topic, table, is_new=True, doubts=doubts)) as seen:
            wanted = reads.begin(name, arguments.where)
            print(f"{name}: asked the connector to read {len(wanted):,} rows", flush=True)
            if arguments.wait:
                progress = Progress(name, wanted, seen)
                await_rows(reads, name, progress)
                settle(reads, definition, name, progress)
                print(f"{name}: complete")
    return 0


def stop(reads: Reads, table: Table, seen: SeenRows) -> None:
    """End the reads of a table, wait until they have ended, and print how many of its rows are in its topic.

    Args:
        seen: rows that exist according to the topic.

    Raises:
        StackError: the connector failed.
    """
    name = table.name
    reads.stop(name)
    print(f"{name}: asked the connector to end its reads", flush=True)
    reads.follow(name, reads.log_end(), on_poll=lambda: None)
    if not has_comparable_key(table):
        print(f"{name}: its reads have ended")
        return
    seen.look()
    wanted = reads.keys(name)
    print(f"{name}: its reads have ended; {len(wanted & seen.keys):,} of {len(wanted):,} rows are in the topic")


def await_rows(reads: Reads, table: str, progress: Progress) -> None:
    """Wait until the reads of a table that were asked for have ended.

    Raises:
        StackError: the connector failed, or ended without having read all rows. Debezium ends a read like a complete
            one if the database rejects a statement, or is restarted.
    """
    reads.follow(table, reads.log_end(), on_poll=progress.poll)
    if progress.look():
        time.sleep(_SAY_S)  # the end of a transaction reaches one topic after the other
    missing = progress.look()
    if missing:
        raise StackError(f"{table}: the connector has ended without {missing:,} rows: run the command again; {RIGHTS}")


def settle(reads: Reads, definition: Definition, table: str, progress: Progress) -> None:
    """Have the rows read again that may have been read out of date, until none is left.

    Raises:
        StackError: the connector failed, some rows change too often, or rows were read that are deleted.
    """
    for _ in range(TRIES):
        if not progress.doubtful:
            return
        reads.log_end()  # waits until everything in the log is visible
        there = progress.doubtful & reads.keys(table)
        if not there:
            count = len(progress.doubtful)
            raise StackError(
                f"{table}: {count:,} rows were read while they were deleted: run `millrace connector sweep`"
            )
        print(f"{table}: {len(there):,} rows were read while they changed: reading them again", flush=True)
        reads.begin(table, condition_of(definition, table, there))
        await_rows(reads, table, progress)
    raise StackError(f"{table}: {len(progress.doubtful):,} rows may be out of date in the topic: run the command again")
