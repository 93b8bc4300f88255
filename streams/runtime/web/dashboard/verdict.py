"""The first sentence of the page: whether all is right, and if not, what is wrong, since when, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from streams.runtime.web.dashboard.board import Seen
from streams.runtime.web.rules import Rule, Verdict

_RANK: Final = (Verdict.RIGHT, Verdict.BEHIND, Verdict.PERSON, Verdict.UNKNOWN)
_WORKER_DOWN: Final = "WorkerDown"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A rule that does not hold at a worker."""

    rule: Rule
    worker: str
    found: str
    since: float | None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict, the sentence that explains it, and all faults, the worst first."""

    verdict: Verdict
    sentence: str
    faults: Sequence[Fault]


def judge(workers: Sequence[Seen], rules: Sequence[Rule]) -> Judgement:
    """Return the verdict on what the workers say of themselves."""
    faults = sorted(_faults(workers, {rule.name: rule for rule in rules}), key=lambda f: -_RANK.index(f.rule.verdict))
    if faults:
        worst = faults[0]
        since = "" if worst.since is None else f" since {clock(worst.since)}"
        sentence = f"{worst.rule.summary}{since}: {worst.found} ({worst.worker})."
        return Judgement(verdict=worst.rule.verdict, sentence=sentence, faults=faults)
    answering = [seen.snapshot for seen in workers if seen.snapshot is not None]
    if not all(snapshot["stats"].get("ready") for snapshot in answering):
        sentence = "The workers have not opened all their partitions yet: this takes seconds after a start or a change."
        return Judgement(verdict=Verdict.UNKNOWN, sentence=sentence, faults=())
    sentence = _right(own_snapshots(workers), number=len(answering))
    return Judgement(verdict=Verdict.RIGHT, sentence=sentence, faults=())


def own_snapshots(workers: Sequence[Seen]) -> list[Mapping[str, Any]]:
    """Return what the workers of the first one's application say: figures of several applications do not add up."""
    return [seen.snapshot for seen in workers if seen.snapshot is not None and seen.app == workers[0].app]


def _faults(workers: Sequence[Seen], rules: Mapping[str, Rule]) -> list[Fault]:
    found = []
    for seen in workers:
        if seen.snapshot is None:
            if seen.is_member:
                rule = rules[_WORKER_DOWN]
                found.append(Fault(rule=rule, worker=seen.name, found=seen.fault, since=seen.answered_at))
            continue
        for alert in seen.snapshot.get("alerts", ()):
            rule = rules.get(alert["rule"]) or _foreign(alert["rule"], seen.name)
            found.append(Fault(rule=rule, worker=seen.name, found=alert["found"], since=alert["since"]))
    return found


def _foreign(name: str, worker: str) -> Rule:
    """Return a rule in place of one that another application or version has, and this worker does not know."""
    return Rule(
        name=name,
        expression="",
        for_s=0,
        verdict=Verdict.UNKNOWN,
        summary=f"A worker reports {name}",
        impact="This worker does not know what it means.",
        do=f"curl http://{worker}/stats/",
        docs="docs/operate/monitoring.md",
        find=None,
    )


def _right(answering: Sequence[Mapping[str, Any]], *, number: int) -> str:
    lags = [source for snapshot in answering for source in snapshot["stats"].get("sources", {}).values()]
    waiting = sum(source.get("lag", 0) for source in lags)
    at = clock(answering[0]["at"])  # of this worker, whose clock is the one that the page shows
    if waiting:
        oldest = max(source.get("oldest_s") or 0.0 for source in lags)
        begin = f"{waiting:,} changes are on their way, the oldest for {oldest:.1f} s."
    elif lags:
        begin = f"Every change that Kafka had at {at} is out."
    else:
        begin = f"No source partition is assigned to these workers at {at}."
    waiting = [snapshot["waiting"].get("count", 0) for snapshot in answering if snapshot.get("waiting")]
    parts = [begin, f"{number} of {number} workers."]
    if waiting:
        parts.append(f"{_number(sum(waiting), 'order')} {'waits' if sum(waiting) == 1 else 'wait'} to be complete.")
    parts += [_lake(snapshot["lake"]) for snapshot in answering[:1] if snapshot.get("lake", {}).get("verdict")]
    letters = sum(snapshot["stats"].get("refused", 0) for snapshot in answering)
    return " ".join([*parts, f"{_number(letters, 'dead letter')} since the start."])


def _lake(records: Mapping[str, Any]) -> str:
    at = clock(records["compared_at"])
    return f"The lake {'equalled' if records['verdict'] == 'equal' else 'was behind'} the database at {at}."


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if number else f"No {noun}s"


def clock(moment: float) -> str:
    """Return a Unix time as a time of the day in UTC, for a person."""
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC"
