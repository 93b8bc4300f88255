"""The first sentence of the page: whether all is right, and if not, what is wrong, since when, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from streams.runtime.web.dashboard.board import Seen
from streams.runtime.web.rules import AWAY_S, Rule, Verdict
from streams.runtime.web.words import counted, server_of

MOST_CHARACTERS: Final = 200
"""Length at which the text of an error is cut off."""

_RANK: Final = (Verdict.RIGHT, Verdict.BEHIND, Verdict.PERSON, Verdict.UNKNOWN)
_WORKER_DOWN: Final = "WorkerDown"
_SERVER_AWAY: Final = "ServerAway"
_KAFKA_UNANSWERED: Final = "KafkaUnanswered"
_SYMPTOMS: Final = ("OrdersLate", "Behind", "NoCommit")
"""Rules that another fault of the same rank breaks too; that fault is named first, as it says what to mend."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A rule that does not hold at a worker."""

    rule: Rule
    worker: str
    found: str
    since: float | None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict, the sentence that explains it, the command to begin with, and all faults, the worst first."""

    verdict: Verdict
    sentence: str
    do: str = ""
    faults: Sequence[Fault]


def judge(workers: Sequence[Seen], rules: Sequence[Rule]) -> Judgement:
    """Return the verdict on what the workers say of themselves."""
    known = {rule.name: rule for rule in rules}
    faults = _faults(workers, known)
    firing = {(fault.rule.name, fault.worker) for fault in faults}
    faults += [fault for fault in _early(workers, known) if (fault.rule.name, fault.worker) not in firing]
    faults.sort(key=lambda fault: (-_RANK.index(fault.rule.verdict), fault.rule.name in _SYMPTOMS))
    if faults:
        worst = faults[0]
        since = "" if worst.since is None else f" since {clock(worst.since)}"
        sentence = f"{worst.rule.summary}{since}: {worst.found} ({worst.worker})."
        return Judgement(verdict=worst.rule.verdict, sentence=sentence, do=worst.rule.do, faults=faults)
    answering = [seen.snapshot for seen in workers if seen.snapshot is not None]
    if not all(snapshot["stats"].get("ready") for snapshot in answering):
        return Judgement(verdict=Verdict.UNKNOWN, sentence=_opening(workers), faults=())
    sentence = _right(own_snapshots(workers), number=len(answering))
    return Judgement(verdict=Verdict.RIGHT, sentence=" ".join([sentence, *_left(workers)]), faults=())


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


def _early(workers: Sequence[Seen], rules: Mapping[str, Rule]) -> list[Fault]:
    """Return the servers that are known not to answer although no alert fires yet: without them, nothing is right."""
    found = []
    for seen in workers:
        if seen.snapshot is None:
            continue
        at, kafka_at = seen.snapshot.get("at", 0.0), seen.snapshot.get("kafka_at")
        if kafka_at is not None and at - kafka_at > AWAY_S:
            rule, what = rules[_KAFKA_UNANSWERED], f"no answer for {at - kafka_at:.0f} s"
            found.append(Fault(rule=rule, worker=seen.name, found=what, since=kafka_at))
        elif not all(each.snapshot is None or each.snapshot["stats"].get("ready") for each in workers):
            for part, since in seen.snapshot["stats"].get("away_since", {}).items():
                server = server_of(part, seen.snapshot.get("servers", {}).get(part))
                rule, what = rules[_SERVER_AWAY], f"{server} for {at - since:.0f} s"
                found.append(Fault(rule=rule, worker=seen.name, found=what, since=since))
    return found


def _opening(workers: Sequence[Seen]) -> str:
    """Return why not all partitions are open: after an error, that error says more than any guess."""
    for seen in workers:
        if seen.snapshot is not None and not seen.snapshot["stats"].get("ready"):
            parts = seen.snapshot["stats"].get("partitions", {})
            failed = [part["error"] for part in parts.values() if part.get("state") != "running" and part.get("error")]
            if failed:
                of = counted(len(parts), "partition")
                are = "is" if len(failed) == 1 else "are"
                what = f"{len(failed)} of {of} of {seen.name} {are} opened again after an error"
                return f"{what}: {failed[0][:MOST_CHARACTERS]}"
    return "The workers have not opened all their partitions yet: this takes seconds after a start or a change."


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
    heard = [moment for snapshot in answering if (moment := snapshot.get("kafka_at")) is not None]
    at = clock(min(heard, default=answering[0]["at"]))
    if waiting:
        oldest = max(source.get("oldest_s") or 0.0 for source in lags)
        changes = counted(waiting, "change is on its way", "changes are on their way")
        begin = f"{changes}, the oldest for {oldest:.1f} s."
    elif lags:
        begin = f"Every change that Kafka had at {at} is out."
    else:
        begin = f"No source partition is assigned to these workers at {at}."
    waiting = [snapshot["waiting"].get("count", 0) for snapshot in answering if snapshot.get("waiting")]
    parts = [begin, f"{number} of {counted(number, 'worker')}."]
    if waiting:
        parts.append(f"{_counted(sum(waiting), 'order waits', 'orders wait')} to be complete.")
    parts += [_lake(snapshot["lake"]) for snapshot in answering[:1] if snapshot.get("lake", {}).get("verdict")]
    letters = sum(snapshot["stats"].get("refused", 0) for snapshot in answering)
    return " ".join([*parts, f"{_counted(letters, 'dead letter', 'dead letters')} since the start."])


def _left(workers: Sequence[Seen]) -> list[str]:
    """Say which worker left last: nobody else knows whether it was stopped or has died."""
    gone = [seen for seen in workers if not seen.is_member and seen.answered_at is not None]
    if not gone:
        return []
    last = max(gone, key=lambda seen: seen.answered_at or 0.0)
    others = f" and {counted(len(gone) - 1, 'other')}" if len(gone) > 1 else ""
    return [f"{last.name}{others} left the group; last answer {clock(last.answered_at or 0.0)}."]


def _lake(records: Mapping[str, Any]) -> str:
    at = clock(records["compared_at"])
    return f"The lake {'equalled' if records['verdict'] == 'equal' else 'was behind'} the database at {at}."


def _counted(number: int, one: str, many: str) -> str:
    return counted(number, one, many) if number else f"No {many}"


def clock(moment: float) -> str:
    """Return a Unix time as a time of the day in UTC, for a person."""
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC"
