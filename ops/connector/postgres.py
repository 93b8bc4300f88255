"""What `millrace connector` does for a PostgreSQL source besides asking Connect: database, slot, topics and arrival."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from config.database_settings import PostgresSettings
from config.dataset import known_datasets
from config.definition import Definition
from config.engines.base import Connection
from config.settings import ConnectSettings, KafkaSettings
from ops.connector.apply import failure_of, is_running
from ops.connector.arrival import SILENT_S, Arrivals
from ops.connector.epochs import running_epoch
from ops.connector.publication import prepare_source, unpublished
from ops.connector.rest import LITTLE, ConnectClient
from ops.connector.settings import connector_name, slot_epoch, slot_name
from ops.connector.slots import (
    BEGIN_EPOCH,
    Slot,
    blocking_transactions,
    committed_place,
    drop_slot,
    lost_log,
    lsn_text,
    read_slot,
    reader_of,
    slot_faults,
    slot_names,
)
from ops.database import connected
from ops.topics import apply_topics
from stack.errors import StackError
from streams.model.position import with_epoch
from streams.topics import SIGNALS_SPEC, Direction, TopicSpec, catalogue_of, heartbeat_spec

_PUBLISHED_LIMIT_S: Final = 120.0
_POLL_S: Final = 0.5

Say = Callable[[str], None]


def reader_asked(
    definition: Definition, environment: Mapping[str, str], connect: ConnectClient
) -> Callable[[], object | None]:
    """Return what asks a PostgreSQL source who reads the connector's slot; other databases have no slots."""
    if definition.engine != "postgres":
        return lambda: None
    return PostgresSource(definition, environment, connect).reader


class PostgresSource:
    """The source database of a dataset, the connector's slot in its log, and its topics, in one epoch."""

    def __init__(self, definition: Definition, environment: Mapping[str, str], connect: ConnectClient) -> None:
        self._definition = definition
        self._connect = connect
        self._name = connector_name(definition.name)
        self._database = PostgresSettings.read(environment)
        self._user = ConnectSettings.read(environment).postgres_user
        self._kafka = KafkaSettings.read(environment)
        self._arrivals = Arrivals(self._kafka.bootstrap)

    def prepare(self, epoch: int, say: Say) -> int:
        """Prepare database and topics for the connector; return the topics' end, for `await_arrival`.

        Raises:
            StackError: something is missing, or the connector would leave a gap; one line each, with the remedy.
        """
        slot = slot_name(self._definition.name, epoch)
        created = apply_topics(self._kafka, self._specs(epoch))
        if created:
            say(f"{len(created)} topics created")
        with self._connected() as connection:
            for line in prepare_source(connection, self._definition, slot=slot, user=self._user):
                say(line)
            self._check_slot(connection, epoch)
            if read_slot(connection, slot) is None:
                for line in blocking_transactions(connection):
                    say(f"WARNING: {line}")
        return self._arrivals.end(spec.name for spec in self._specs(epoch))

    def await_arrival(self, epoch: int, before: int) -> None:
        """Wait until a change or a heartbeat has arrived after the topics' end `before`."""
        names = [spec.name for spec in self._specs(epoch)]
        self._arrivals.wait(names, before, failure=lambda: failure_of(self._connect.status(self._name)))

    def await_published(self, epoch: int) -> None:
        """Wait until all that the database has committed so far is published.

        Raises:
            StackError: the slot does not exist, the connector failed, or time is up.
        """
        name = slot_name(self._definition.name, epoch)
        deadline, aim = time.monotonic() + _PUBLISHED_LIMIT_S, None
        with self._connected() as connection:
            while True:
                slot = read_slot(connection, name)
                if slot is None or slot.confirmed is None or slot.lag_bytes is None:
                    raise StackError(f"the replication slot {name} does not exist: run `millrace connector apply`")
                aim = slot.confirmed + slot.lag_bytes if aim is None else aim
                if slot.confirmed >= aim:
                    return
                failure = failure_of(self._connect.status(self._name))
                if failure or time.monotonic() > deadline:
                    reason = failure or f"the slot is {aim - slot.confirmed:,} bytes behind"
                    raise StackError(f"{self._name} has not published all changes: {reason}")
                time.sleep(_POLL_S)

    def slot(self, epoch: int) -> Slot | None:
        """Return the connector's slot as it is now; None if there is none."""
        with self._connected() as connection:
            return read_slot(connection, slot_name(self._definition.name, epoch))

    def status_lines(self, epoch: int) -> tuple[list[str], bool]:
        """Describe slot and arrival; the second value is whether changes arrive and the log is still there."""
        name = slot_name(self._definition.name, epoch)
        with self._connected() as connection:
            slot = read_slot(connection, name)
            missing = unpublished(connection, self._definition, name)
        if slot is None:
            return [f"slot {name}: does not exist: {BEGIN_EPOCH}"], False
        confirmed = "-" if slot.confirmed is None else lsn_text(slot.confirmed)
        kept = "-" if slot.kept_from is None else lsn_text(slot.kept_from)
        lines = [
            f"slot {name}: {'being read' if slot.reader else 'not being read'}, log {slot.wal_status}",
            f"  confirmed {confirmed}, {slot.lag_bytes or 0:,} bytes behind; kept from {kept}, "
            f"{slot.kept_bytes or 0:,} bytes",
        ]
        newest_ms = self._arrivals.newest_ms(self._heartbeat_topic(epoch))
        silent_s = None if newest_ms is None else time.time() - newest_ms / 1000
        arrives = silent_s is not None and silent_s < SILENT_S
        told = "never" if silent_s is None else f"{silent_s:.0f} s ago"
        lines.append(f"last heartbeat in Kafka: {told}" + ("" if arrives else ": the connector stands still"))
        if slot.wal_status == "lost":
            lines.append(lost_log(slot))
        if missing:
            tables, repair = ", ".join(missing), "`millrace lake reconcile --repair`"
            lines.append(
                f"publication {name} lacks {tables}, whose changes are lost: run `millrace connector apply`, then "
                f"`millrace connector sweep` and {repair}"
            )
        return lines, arrives and slot.wal_status != "lost" and not missing

    def reader(self) -> tuple[object, ...] | None:
        """Return what identifies the connection that reads the connector's slot now; None if that is not known."""
        try:
            epoch = running_epoch(self._connect, self._name)
            with self._connected() as connection:
                return reader_of(connection, slot_name(self._definition.name, epoch))
        except StackError:  # the connector does not run without its servers either, and the watch says so
            return None

    def forget(self, *, before: int | None = None) -> list[str]:
        """Drop the slots and publications of the epochs `before` one, or of all; return the names of the slots.

        The server keeps its log for a slot that nobody reads until its disk is full.
        """
        datasets = {slot_name(name, 0) for name in known_datasets()} - {slot_name(self._definition.name, 0)}
        with self._connected() as connection:
            epochs = {name: slot_epoch(name, self._definition.name) for name in slot_names(connection)}
            return [
                name
                for name, epoch in epochs.items()
                if epoch is not None and (before is None or epoch < before) and name not in datasets
                if drop_slot(connection, name)
            ]

    def _check_slot(self, connection: Connection, epoch: int) -> None:
        prefix = with_epoch(self._definition.name, epoch)
        known = self._connect.config(self._name)
        is_current = known is not None and known.get("topic.prefix") == prefix
        faults = slot_faults(
            read_slot(connection, slot_name(self._definition.name, epoch)),
            committed_place(self._connect.offsets(self._name), prefix) if known is not None else None,
            has_records=self._arrivals.end([self._heartbeat_topic(epoch)]) > 0,
            is_ours=is_current and is_running(self._connect.status(self._name)),
        )
        found = list(faults)
        if found:
            raise StackError("\n".join(found))

    def _connected(self) -> AbstractContextManager[Connection]:
        return connected(self._database, self._definition.database, self._definition.schema)

    def _heartbeat_topic(self, epoch: int) -> str:
        return heartbeat_spec(with_epoch(self._definition.name, epoch)).name

    def _specs(self, epoch: int) -> list[TopicSpec]:
        """Return the topics to which the connector writes; if one is missing, the whole connector stands still."""
        found = catalogue_of(self._definition, app_id="-", order_partitions=self._kafka.order_partitions)
        changes = [spec for spec in found if spec.direction is Direction.IN]
        return [*changes, SIGNALS_SPEC, heartbeat_spec(with_epoch(self._definition.name, epoch))]


def slot_reader(definition: Definition, environment: Mapping[str, str]) -> Callable[[], Slot | None]:
    """Return what reads a connector's slot, in the epoch that it has at that moment; for other engines, None always."""

    def read() -> Slot | None:
        if definition.engine != "postgres":
            return None
        with ConnectClient(ConnectSettings.read(environment).url, LITTLE) as connect:
            source = PostgresSource(definition, environment, connect)
            return source.slot(running_epoch(connect, connector_name(definition.name)))

    return read
