"""Rules of what is worth a person's attention: one list for the alerts of Prometheus and for the page `/`.

The command `make reference` writes `config/prometheus/rules.yaml` from the rules. A worker evaluates the same rules
over its own figures, so that the page's verdict and the alerts agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from streams.runtime.stats import SECONDS_BOUNDS
from streams.runtime.web.words import counted

RUNBOOKS: Final = "docs/operate/runbooks"

LATE_S: Final = 2.0
LATE_SHARE: Final = 0.05
"""The promise to the readers of the outputs: at most this share of the records is visible later than `LATE_S`."""

BEHIND_S: Final = 60.0
"""Age of the oldest unprocessed record from which on a partition that does not catch up is behind."""

AWAY_S: Final = 10.0
HELD_UP_S: Final = 10.0
UNANSWERED_S: Final = 30.0

NEWEST_REASON: Final = "letters.newest"

_LATE_BUCKET: Final = SECONDS_BOUNDS.index(LATE_S) + 1
_MINUTE_S: Final = 60.0


class Verdict(StrEnum):
    """Answer of the page, from best to worst."""

    RIGHT = "right"
    BEHIND = "behind"
    PERSON = "waits for a person"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures of one worker at one moment.

    Attributes:
        lag_s: age of the oldest unprocessed record in seconds, keyed by `topic/partition`; only of those with lag.
        held_up_s: seconds for which an open transaction has held up a source partition, the longest.
        unanswered_s: seconds since Kafka last answered what the ends of the source topics are.
        not_running: text with the state and the error of each partition that is not running, keyed by partition.
        away_s: seconds since each component's server became unavailable, keyed by the words for server and component.
        visible: number of outputs by the time until they were visible, in the buckets of `RuntimeStats`.
        events: counts of the application's components, keyed by `component.event`.
        texts: what components say in words, keyed in the same way.
    """

    turns: int
    records: int
    dead_letters: int
    lag_s: Mapping[str, float]
    held_up_s: float
    unanswered_s: float
    not_running: Mapping[str, str]
    away_s: Mapping[str, float]
    visible: Sequence[int]
    events: Mapping[str, int]
    texts: Mapping[str, str] = field(default_factory=dict)


class Past(Protocol):
    """A worker's figures, now and before."""

    @property
    def now(self) -> Figures: ...

    def before(self, seconds: float) -> Figures | None:
        """Return the figures of that many seconds ago; None if the worker is younger."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A condition that is worth a person's attention.

    Attributes:
        expression: the condition for Prometheus.
        for_s: how long the condition must hold, in seconds.
        threshold_s: how long the trouble has lasted when the condition begins to hold, in seconds.
        verdict: what the page says while the condition holds.
        impact: what it means for the readers of the outputs.
        do: command to begin with.
        docs: page and anchor that say more.
        find: the same condition on the figures of one worker: returns what was found, or None. None for a condition
            that only Prometheus can see.
    """

    name: str
    expression: str
    for_s: int
    verdict: Verdict
    summary: str
    impact: str
    do: str
    docs: str
    find: Callable[[Past], str | None] | None
    threshold_s: float = 0.0


def grown(past: Past, count: Callable[[Figures], int], seconds: float) -> int:
    """Return by how much a counter has grown in the last `seconds`, or since the worker's start."""
    before = past.before(seconds)
    return count(past.now) - (0 if before is None else count(before))


def _late(past: Past) -> str | None:
    before = past.before(5 * _MINUTE_S)
    counts = [n - (0 if before is None else before.visible[i]) for i, n in enumerate(past.now.visible)]
    share = sum(counts[_LATE_BUCKET:]) / (sum(counts) or 1)
    return (
        f"{share:.0%} of the outputs of the last 5 minutes took more than {LATE_S:.0f} s"
        if share > LATE_SHARE
        else None
    )


def _behind(past: Past) -> str | None:
    before = past.before(2 * _MINUTE_S)
    for place, seconds in sorted(past.now.lag_s.items(), key=lambda item: -item[1]):
        if seconds > BEHIND_S and (before is None or seconds >= before.lag_s.get(place, 0.0)):
            return f"{place}: the oldest waiting change is {seconds:.0f} s old"
    return None


def _stands_still(past: Past) -> str | None:
    before = past.before(_MINUTE_S)
    if before is None or not past.now.lag_s or not before.lag_s or past.now.turns > before.turns:
        return None
    waiting = counted(len(past.now.lag_s), "source partition has", "source partitions have")
    return f"no commit for a minute, although {waiting} waiting changes"


def _dead_letters(past: Past) -> str | None:
    number = grown(past, lambda figures: figures.dead_letters, 10 * _MINUTE_S)
    newest = past.now.texts.get(NEWEST_REASON)
    why = f", the newest one: {newest}" if newest else ""
    return f"{counted(number, 'dead letter')} in 10 minutes{why}" if number else None


def _not_running(past: Past) -> str | None:
    found = past.now.not_running
    return "; ".join(f"{name} is {why}" for name, why in sorted(found.items())[:3]) or None


def _away(past: Past) -> str | None:
    found = {server: seconds for server, seconds in past.now.away_s.items() if seconds > AWAY_S}
    return "; ".join(f"{server} for {seconds:.0f} s" for server, seconds in found.items()) or None


def _held_up(past: Past) -> str | None:
    seconds = past.now.held_up_s
    return f"nothing could be read for {seconds:.0f} s" if seconds > HELD_UP_S else None


def _unanswered(past: Past) -> str | None:
    seconds = past.now.unanswered_s
    return f"no answer for {seconds:.0f} s" if seconds > UNANSWERED_S else None


def _late_share(window: str) -> str:
    bucket = f'sum(rate(millrace_visible_seconds_bucket{{le="{LATE_S}"}}[{window}]))'
    return f"(1 - {bucket} / sum(rate(millrace_visible_seconds_count[{window}])))"


RULES: Final[Sequence[Rule]] = (
    Rule(
        name="WorkerDown",
        expression='up{job="millrace"} == 0',
        for_s=30,
        verdict=Verdict.UNKNOWN,
        summary="A worker does not answer",
        impact="Another worker takes its partitions over within the session timeout; if it was the last, all waits.",
        do="millrace doctor faust",
        docs=f"{RUNBOOKS}/order-missing.md#the-worker-stops",
        find=None,
    ),
    Rule(
        name="PartitionNotRunning",
        expression="millrace_partition_running == 0",
        for_s=60,
        verdict=Verdict.PERSON,
        summary="A partition is not processed",
        impact="The orders of this partition wait; those of other partitions go on.",
        do="curl http://127.0.0.1:6066/stats/",
        docs=f"{RUNBOOKS}/order-missing.md",
        find=_not_running,
    ),
    Rule(
        name="OrdersLate",
        expression=f"{_late_share('5m')} > {LATE_SHARE} and {_late_share('1h')} > {LATE_SHARE}",
        for_s=60,
        verdict=Verdict.BEHIND,
        summary="More than 5 % of the outputs take longer than 2 s",
        impact="Readers see complete orders later than promised; none is lost.",
        do="curl http://127.0.0.1:6066/metrics",
        docs="docs/operate/scaling.md",
        find=_late,
    ),
    Rule(
        name="Behind",
        expression=f"millrace_lag_seconds > {BEHIND_S:.0f} and delta(millrace_lag_seconds[2m]) >= 0",
        for_s=0,
        verdict=Verdict.BEHIND,
        summary="A source partition is more than a minute behind and does not catch up",
        impact="Its orders are published late.",
        do="curl http://127.0.0.1:6066/stats/",
        docs="docs/operate/scaling.md",
        find=_behind,
        threshold_s=BEHIND_S,
    ),
    Rule(
        name="NoCommit",
        expression=(
            "max by (instance) (millrace_lag_records) > 0 "
            "and on (instance) increase(millrace_turn_seconds_count[1m]) == 0"
        ),
        for_s=60,
        verdict=Verdict.BEHIND,
        summary="A worker has waiting changes and commits nothing",
        impact="Nothing that this worker owns is published.",
        do="millrace doctor",
        docs=f"{RUNBOOKS}/order-missing.md",
        find=_stands_still,
        threshold_s=_MINUTE_S,
    ),
    Rule(
        name="DeadLettersGrow",
        expression="increase(millrace_dead_letters_total[10m]) > 0",
        for_s=0,
        verdict=Verdict.PERSON,
        summary="Records became dead letters",
        impact="What these records say is missing in the outputs until they are replayed.",
        do="millrace dead-letters list",
        docs=f"{RUNBOOKS}/dead-letters-grow.md",
        find=_dead_letters,
    ),
    Rule(
        name="ServerAway",
        expression=f"millrace_away_seconds > {AWAY_S:.0f}",
        for_s=0,
        verdict=Verdict.BEHIND,
        summary="A server that a worker needs does not answer",
        impact=(
            "What needs it waits, and nothing is lost: the archive for the object storage, complete orders for the "
            "lock guard's Redis, unless GUARD_WHEN_AWAY says otherwise."
        ),
        do="millrace doctor",
        docs=f"{RUNBOOKS}/redis-lost.md",
        find=_away,
        threshold_s=AWAY_S,
    ),
    Rule(
        name="SourceHeldUp",
        expression=f"millrace_held_up_seconds > {HELD_UP_S:.0f}",
        for_s=0,
        verdict=Verdict.BEHIND,
        summary="An open transaction holds a source topic up",
        impact="Nothing behind it can be read until it ends or Kafka aborts it.",
        do="millrace connector status",
        docs=f"{RUNBOOKS}/order-missing.md#an-open-transaction-of-another-program",
        find=_held_up,
        threshold_s=HELD_UP_S,
    ),
    Rule(
        name="KafkaUnanswered",
        expression=f"millrace_end_offsets_age_seconds > {UNANSWERED_S:.0f}",
        for_s=30,
        verdict=Verdict.UNKNOWN,
        summary="Kafka does not answer a worker",
        impact="Nothing can be read or published; how far behind it is, is unknown.",
        do="millrace doctor kafka",
        docs="docs/operate/monitoring.md#what-to-be-woken-for",
        find=_unanswered,
        threshold_s=UNANSWERED_S,
    ),
    Rule(
        name="DiskFillsUp",
        expression="predict_linear(millrace_disk_free_bytes[6h], 86400) < 0",
        for_s=1_800,
        verdict=Verdict.PERSON,
        summary="The disk of a worker's state is full within a day",
        impact="A worker without room on its disk stops; its partitions move to another one.",
        do="curl http://127.0.0.1:6066/metrics",
        docs="docs/operate/scaling.md",
        find=None,
    ),
)
