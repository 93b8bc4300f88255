"""When a connector's tasks were started last, by the records that Connect keeps of their states.

A connector that is started in its initial snapshot begins the snapshot again, so only what has arrived since then
counts as read. Connect's REST API tells the state of a task, but not since when; its status topic has a record of each
change. Connect writes that a task runs before the task publishes anything.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from stack.errors import StackError
from streams.adapters.committed_reader import CommittedReader, TopicError

_GROUP: Final = "millrace-connector-tasks"
_RUNNING: Final = "RUNNING"
_PAUSED: Final = "PAUSED"


class _Status(Struct):
    state: str
    generation: int = 0


class TaskStarts:
    """The records of one connector's tasks, in the order of the topic.

    Attributes:
        newest_ms: when one of its tasks was started last, in milliseconds since 1970; 0 if no record says so.
    """

    def __init__(self, connector: str) -> None:
        self.newest_ms = 0
        self._prefix = f"status-task-{connector}-".encode()
        self._known: dict[bytes, _Status] = {}

    def take(self, key: bytes | None, value: bytes | None, at_ms: int) -> None:
        """Take in a record; those of other connectors, and what is none of Connect, are left out."""
        if key is None or not key.startswith(self._prefix) or not key[len(self._prefix) :].isdigit():
            return
        try:
            status = msgspec.json.decode(value or b"", type=_Status)
        except msgspec.DecodeError:
            self._known.pop(key, None)  # a task that was deleted
            return
        former = self._known.get(key)
        self._known[key] = status
        is_resumed = former == _Status(state=_PAUSED, generation=status.generation)
        if status.state == _RUNNING and not is_resumed:  # a task that was paused goes on where it was
            self.newest_ms = max(self.newest_ms, at_ms)


class StatusTopic:
    """Connect's status topic; each call reads what is new.

    Args:
        topic: Connect's `status.storage.topic`.
    """

    def __init__(self, bootstrap: str, topic: str, connector: str) -> None:
        self._starts = TaskStarts(connector)
        self._reader = CommittedReader(bootstrap, topic, _GROUP)

    def close(self) -> None:
        """Close the consumer."""
        self._reader.close()

    def started_ms(self) -> int:
        """Return when a task was started last, in milliseconds since 1970; 0 if no record says so.

        Raises:
            StackError: Kafka does not answer, or there is no such topic.
        """
        try:
            self._reader.visit_times_to_end(self._starts.take)
        except TopicError as error:
            raise StackError(str(error)) from None
        return self._starts.newest_ms
