"""The check that a partition's changes come from the expected log, before they are folded (`streams.model.origin`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from streams.model.change import Change
from streams.model.origin import Origin, contradiction, followed, parse_origin
from streams.model.source_time import is_credible
from streams.runtime.partition.batch import Fold, RecordBatch

Batches = Sequence[tuple[RecordBatch, Fold]]


class UnknownOriginError(Exception):
    """A change comes from another server, or from a log that began again, although no new epoch has begun."""


@dataclass(frozen=True, kw_only=True)
class OriginRule:
    """What a pipeline expects of the origin of its changes.

    Attributes:
        begun_epoch: reads the newest epoch that has begun; called only if a change has an unknown origin.
        servers: ids of the servers whose changes one log may contain; if empty, only those of one server.
        foreign_headers: names of headers of records that do not come directly from the connector, which are neither
            checked nor learned from.
    """

    begun_epoch: Callable[[], Awaitable[int]]
    servers: Collection[int] = ()
    foreign_headers: Collection[str] = ()


class OriginCheck:
    """Checks the origin of all changes of one partition.

    The origins are committed together with the offsets, so they always describe the changes before the next one.

    Args:
        rule: what the pipeline expects.
        notes: texts that were committed with the offsets, keyed by topic; updated with the origins of checked changes.
    """

    def __init__(self, rule: OriginRule, notes: dict[str, str]) -> None:
        self._rule = rule
        self._notes = notes
        self._known: dict[str, Origin | None] = {topic: parse_origin(text) for topic, text in notes.items()}
        self._begun_epoch = 0

    async def passed(self, batches: Batches) -> tuple[Batches, UnknownOriginError | None]:
        """Return the changes before the first one of an unknown origin, and the error for that one.

        Args:
            batches: decoded batches of the partition.
        """
        passed: list[tuple[RecordBatch, Fold]] = []
        errors: dict[str, UnknownOriginError] = {}
        for batch, fold in batches:
            if batch.topic in errors:
                continue  # it follows the change that stops the topic
            count = len(batch)
            while (stop := self._stop(batch)) is not None:
                index, reason = stop
                epoch = batch.changes[index].position[0]  # type: ignore[union-attr]  # only changes can stop a topic
                self._begun_epoch = await self._rule.begun_epoch()
                if self._begun_epoch <= epoch:
                    count, errors[batch.topic] = index, _error(batch, index, reason)
                    break
            if count:
                passed.append((batch if count == len(batch) else batch.head(count), fold))
        self._notes |= {topic: origin.text() for topic, origin in self._known.items() if origin is not None}
        return passed, next(iter(errors.values()), None)

    def _stop(self, batch: RecordBatch) -> tuple[int, str] | None:
        """Return the index of the first change of an unknown origin, and why it is unknown; None if there is none."""
        known = self._known.get(batch.topic)
        epoch, file, server_id, newest_ms = _parts(known)
        for index, change in enumerate(batch.changes):
            if type(change) is not Change:
                continue
            record = batch.records[index]
            position, at_ms = change.position, change.at_ms
            if at_ms > newest_ms and not is_credible(at_ms, record.timestamp):
                at_ms = 0
            if position[1] == file and position[0] == epoch and change.server_id in (0, server_id):
                newest_ms = max(newest_ms, at_ms)  # nearly all changes
                continue
            if any(name in self._rule.foreign_headers for name, _ in record.headers):
                continue  # it has the place of an older change, or was corrected by hand
            if known is not None:
                known = replace(known, newest_ms=newest_ms)
                reason = contradiction(known, change, at_ms, self._rule.servers)
                if reason is not None and position[0] < self._begun_epoch:
                    continue  # a later epoch has begun, which tells of the same rows again
                if reason is not None:
                    self._known[batch.topic] = known
                    return index, reason
            known = followed(known, change, at_ms)
            epoch, file, server_id, newest_ms = _parts(known)
        self._known[batch.topic] = known and replace(known, newest_ms=newest_ms)
        return None


def _parts(known: Origin | None) -> tuple[int, int, int, int]:
    return (-1, -1, 0, 0) if known is None else (known.epoch, known.file, known.server_id, known.newest_ms)


def _error(batch: RecordBatch, index: int, reason: str) -> UnknownOriginError:
    change = batch.changes[index]
    assert type(change) is Change
    epoch, file, pos, _ = change.position
    server = f"server {change.server_id}" if change.server_id else "an unnamed server"
    return UnknownOriginError(
        f"{batch.topic}/{batch.partition} stops at offset {batch.records[index].offset}: a change from {server}, "
        f"file {file}, position {pos}, epoch {epoch}, is not of the known log, because {reason}. If the source is now "
        "another server, or its log began again, begin a new epoch with `millrace connector epoch begin`; "
        "see docs/operate/runbooks/source-failover.md"
    )
