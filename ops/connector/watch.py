"""Watch over a dataset's connector: start failed tasks again, and sweep after each snapshot.

Kafka Connect does not start a failed task again. And a snapshot that was interrupted begins again without a word about
the rows that were deleted in between: only a sweep finds those (`sweep.py`).

Whether a snapshot is running is read from the connector's committed positions. They do not tell which snapshot was the
last one, so the watch sweeps after each one that it has seen, after each time that it did not see the connector run,
and once after its own start. A sweep takes a while, and reads one table after the other: the watch goes on looking
meanwhile, and sweeps again if a snapshot may have begun. A sweep that finds nothing costs a read of the change topics
and of the tables' keys.

After a sweep, the watch tends the tables that the snapshot left out, and all tables of PostgreSQL, in which rows of a
COPY may be missing (`first_reads.py`), until all their rows are in the topics; also after a sweep that was refused, as
rows that vanished from one table say nothing of another's.

A task may stop and start between two looks. PostgreSQL tells: each start of the connector opens a new connection that
reads the slot, so another reader than at the last look counts as a time without the connector.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ops.connector.apply import failure_of, has_snapshot_ended, is_running
from ops.connector.pause import Pause
from ops.connector.rest import ConnectClient
from ops.connector.sweep import SweptTable
from stack.errors import StackError

CLOSE_S: Final = 10.0
"""How long a watch that is to end waits for its sweep; supervisors kill a process that takes much longer."""

READER_S: Final = 10.0
"""How often the database is asked who reads its log."""

_IDLE: Final = frozenset({"PAUSED", "STOPPED"})
"""States in which an operator has put a connector: the watch leaves it alone."""

Say = Callable[[str], None]


class Work(Protocol):
    """Work that was begun, such as a thread."""

    def is_alive(self) -> bool: ...
    def join(self, timeout: float | None = None) -> None: ...


class LateTables(Protocol):
    """The tables that the initial snapshot leaves out (`ops.connector.first_reads.FirstReads`)."""

    def tend(self, say: Say) -> bool: ...
    def doubt(self) -> None: ...


def in_thread(work: Callable[[], None]) -> Work:
    """Begin work in a thread."""
    thread = threading.Thread(target=work, name="sweep", daemon=True)
    thread.start()
    return thread


class _Readers:
    """The readers of the log, one after the other."""

    def __init__(self, current: Callable[[], object | None], clock: Callable[[], float]) -> None:
        self._current = current
        self._clock = clock
        self._ask_at = clock()
        self._known: object | None = None

    def is_another(self) -> bool:
        """Whether another reader was there before; asks at most every `READER_S` seconds."""
        if self._clock() < self._ask_at:
            return False
        self._ask_at = self._clock() + READER_S
        found = self._current()
        if found is None:
            return False
        known, self._known = self._known, found
        return known not in (None, found)


class ConnectorWatch:
    """Looks at a connector again and again; call `look` every few seconds, and `close` at the end.

    Args:
        sweep: compares each table with its topic, and appends the missing deletions.
        say: receives what happened, one line each.
        late: the tables that the initial snapshot leaves out; None: there are none.
        begin: begins a sweep, so that the watch can look meanwhile.
        reader: returns what identifies the connection that reads the log now, None if there is none; asked from time
            to time. Without it, stops between two looks go unnoticed.

    Attributes:
        is_up: whether the connector and all its tasks were running at the last look.
        is_sweep_due: whether rows may have vanished since the last complete sweep.
    """

    def __init__(
        self,
        connect: ConnectClient,
        name: str,
        *,
        sweep: Callable[[], Iterable[SweptTable]],
        say: Say,
        late: LateTables | None = None,
        begin: Callable[[Callable[[], None]], Work] = in_thread,
        reader: Callable[[], object | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_up = False
        self.is_sweep_due = True
        self._connect = connect
        self._name = name
        self._sweep = sweep
        self._say = say
        self._late = late
        self._is_late_due = late is not None
        self._begin = begin
        self._readers = _Readers(reader, clock)
        self._said: str | None = None
        self._restart_pause = Pause(clock)
        self._sweep_pause, self._late_pause = Pause(clock), Pause(clock)
        self._work: Work | None = None
        self._is_whole = self._is_closing = self._is_sweep = False
        self._refusal: Exception | None = None

    def look(self) -> None:
        """Look at the connector once, and do what is due. An unavailable server is reported, not raised."""
        try:
            calm = self._is_calm()
            if calm and self._readers.is_another():
                self._say(f"{self._name} has begun to read the log anew: its tables are compared with their topics")
                calm = False
        except StackError as error:
            self._say_once(str(error))
            self.is_up = calm = False
        if not calm:
            self.is_sweep_due, self._is_whole = True, False
            self._is_late_due = self._late is not None
        if self._work is not None:
            if not self._work.is_alive():
                self._end_work()
        elif calm and self.is_sweep_due and self._sweep_pause.is_over:
            self._is_sweep = True
            self._begin_work(self._sweep_all)
        elif calm and self._is_late_due and self._late_pause.is_over:
            self._is_sweep = False
            self._begin_work(self._tend_late)

    def close(self) -> None:
        """Wait until the sweep has ended with its table: its transaction would hold up the readers of the topic.

        A table whose reading takes longer than `CLOSE_S` is given up; the next watch begins with a sweep.
        """
        self._is_closing = True
        if self._work is not None:
            self._work.join(CLOSE_S)

    def _begin_work(self, work: Callable[[], None]) -> None:
        def noted() -> None:
            try:
                work()
            except Exception as error:  # the next look reports it, and begins the work again
                self._refusal = error

        self._is_whole, self._refusal = True, None
        self._work = self._begin(noted)

    def _is_calm(self) -> bool:
        """Whether the connector follows the log; say what it does otherwise, and start it again if it has failed."""
        status = self._connect.status(self._name)
        self.is_up = status is not None and is_running(status)
        if status is None:
            self._say_once(f"{self._name} does not exist; create it with `millrace connector apply`")
            return False
        state, failure = status["connector"]["state"], failure_of(status)
        if failure is not None and state not in _IDLE:
            self._restart(failure)
            return False
        if not is_running(status):
            self._say_once(f"{self._name} is {state}, not all its tasks are running")
            return False
        self._restart_pause.note_well()
        settings = self._connect.config(self._name) or {}
        if not has_snapshot_ended(self._connect, self._name, settings.get("topic.prefix")):
            self._say_once(f"{self._name} is reading a snapshot; a sweep follows")
            return False
        if not self.is_sweep_due:
            self._say_once(f"{self._name} is running")
        return True

    def _restart(self, failure: str) -> None:
        if not self._restart_pause.is_over:
            return
        pause_s = self._restart_pause.begin()  # first, as Connect may reject the request again and again
        self._connect.restart(self._name)
        self._said = None
        self._say(f"{self._name} failed and was started again (next time after {pause_s:.0f} s or more): {failure}")

    def _sweep_all(self) -> None:
        if self._late is not None:
            self._late.doubt()
        for table in self._sweep():
            if table.gone:
                self._say(f"{table.table}: deleted {table.gone:,} of {table.topic_rows:,} rows, not in the source")
            if self._is_closing:
                return

    def _tend_late(self) -> None:
        assert self._late is not None
        if self._late.tend(self._say):
            self._is_late_due = not self._is_whole

    def _end_work(self) -> None:
        self._work = None
        pause = self._sweep_pause if self._is_sweep else self._late_pause
        if self._refusal is not None:
            pause.begin()
            self._say_once(str(self._refusal) or repr(self._refusal))
            return
        pause.reset()
        if not self._is_sweep:
            return
        self.is_sweep_due = not self._is_whole
        again = "; the connector was interrupted meanwhile, so another sweep follows" if self.is_sweep_due else ""
        self._said = None
        self._say(f"{self._name}: swept{again}")

    def _say_once(self, text: str) -> None:
        """Say what is so, unless it was said last."""
        if text != self._said:
            self._said = text
            self._say(text)
