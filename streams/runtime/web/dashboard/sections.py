"""The sections of the page, rendered from what the workers say of themselves; the script replaces what changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from streams.runtime.web.dashboard.alert_log import alerts_section
from streams.runtime.web.dashboard.board import Seen, Snapshot
from streams.runtime.web.dashboard.history import LOOK_S, MINUTE_S, quantile
from streams.runtime.web.dashboard.html import Markup, chart, element, joined, table, tiles
from streams.runtime.web.dashboard.rings import MINUTES_A_POINT, SECONDS_A_POINT
from streams.runtime.web.dashboard.verdict import Fault, Judgement, clock, judge, own_snapshots
from streams.runtime.web.rules import Rule, Verdict
from streams.runtime.web.words import counted, server_of

MOST_PARTITIONS: Final = 16
MOST_FAULTS: Final = 6
MOST_PLACES: Final = 3
MOST_REASONS_SHOWN: Final = 8
"""Rows of a table; the rest is counted, so that the page stays small however many there are."""

CLOCKS_APART_S: Final = 5.0
"""Difference of two workers' clocks from which on the page mentions it: ages of records are then wrong by as much."""

PartSection = Callable[[Sequence[Mapping[str, Any]]], Markup]
"""Renders a part that only this application has, such as what waits in it, from what each of its workers says."""

_CLASSES: Final = {
    Verdict.RIGHT: "right",
    Verdict.BEHIND: "behind",
    Verdict.PERSON: "person",
    Verdict.UNKNOWN: "unknown",
}


def sections(workers: Sequence[Seen], rules: Sequence[Rule], parts: Mapping[str, PartSection]) -> dict[str, Markup]:
    """Return the HTML of each section, keyed by the id of its element."""
    answering = own_snapshots(workers)
    judgement = judge(workers, rules)
    found: dict[str, Callable[[], Markup]] = {
        "verdict": lambda: verdict(judgement),
        "faults": lambda: faults(judgement),
        "figures": lambda: figures(answering),
        "charts": lambda: charts(answering),
        **{name: partial(_part, name, section, answering) for name, section in parts.items()},
        "workers": lambda: worker_table(workers),
        "partitions": lambda: partition_table(workers),
        "letters": lambda: letters(answering),
        "alerts": lambda: alerts_section(workers, rules),
    }
    versions = {seen.snapshot.get("version") for seen in workers if seen.snapshot is not None}
    return {name: render() if len(versions) < 2 else _tolerant(render) for name, render in found.items()}


def _tolerant(render: Callable[[], Markup]) -> Markup:
    """Return a section of workers of several versions, as during an upgrade, which may not say the same things."""
    try:
        return render()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        why = f"Not shown, as the workers are of several versions ({type(error).__name__})."
        return element("p", why, class_="quiet")


def _part(name: str, section: PartSection, answering: Sequence[Snapshot]) -> Markup:
    found = [snapshot[name] for snapshot in answering if snapshot.get(name)]
    return section(found) if found else Markup("")


def verdict(judgement: Judgement) -> Markup:
    """Return the first sentence, and the command to begin with."""
    word = element("strong", judgement.verdict.capitalize(), aria_live="polite")
    command = joined(" Begin with ", element("code", judgement.do), ".") if judgement.do else ""
    return element("p", word, " ", judgement.sentence, command, class_=_CLASSES[judgement.verdict])


def faults(judgement: Judgement) -> Markup:
    """Return what is wrong, with its impact and the command to run."""
    if not judgement.faults:
        return Markup("")
    groups: dict[str, list[Fault]] = {}
    for fault in judgement.faults:
        groups.setdefault(fault.rule.name, []).append(fault)
    rows = [_fault_row(group) for group in [*groups.values()][:MOST_FAULTS]]
    return table("What is wrong", ("Fault", "Where", "Since", "It means", "Begin with", "Read"), rows)


def _fault_row(group: Sequence[Fault]) -> tuple[Any, ...]:
    """Return the row of a rule that is broken, perhaps at several workers."""
    rule, since = group[0].rule, [fault.since for fault in group if fault.since is not None]
    places = [f"{fault.worker}: {fault.found}" for fault in group[:MOST_PLACES]]
    if len(group) > MOST_PLACES:
        places.append(f"and {len(group) - MOST_PLACES} more")
    began = clock(min(since)) if since else None
    return rule.summary, "; ".join(places), began, rule.impact, element("code", rule.do), rule.docs


def figures(answering: Sequence[Snapshot]) -> Markup:
    """Return speed, latency and counts of all workers together."""
    visible = {window: _sum(answering, "visible", window) for window in ("quarter_hour", "day")}
    found = [
        ("Published/s, now", _rate(answering, "now")),
        ("Published/s, 15 min", _rate(answering, "quarter_hour")),
        ("Published/s, 24 h", _rate(answering, "day")),
        ("Change to output, p50, 15 min", _seconds(quantile(visible["quarter_hour"], 0.5))),
        ("Change to output, p99, 15 min", _seconds(quantile(visible["quarter_hour"], 0.99))),
        ("Change to output, p99, 24 h", _seconds(quantile(visible["day"], 0.99))),
        ("Changes processed", f"{_count(answering, 'records'):,}"),
        ("Records published", f"{_count(answering, 'outputs'):,}"),
        ("Dead letters", f"{_count(answering, 'refused'):,}"),
    ]
    return joined(element("h2", "Figures"), tiles(found))


def charts(answering: Sequence[Snapshot]) -> Markup:
    """Return the last 15 minutes and the last day."""
    series = [snapshot.get("series", {}) for snapshot in answering]
    rate, latency, day_rate, day_latency = (
        _aligned([one.get(name, []) for one in series], together)
        for name, together in (("rate", sum), ("p99", max), ("day_rate", sum), ("day_p99", max))
    )
    step_s, day_step_s = int(LOOK_S) * SECONDS_A_POINT, int(MINUTE_S) * MINUTES_A_POINT
    return joined(
        chart("Published per second", "/s", rate, step_s=step_s),
        chart("Change to output, p99 of the slowest worker", "s", latency, step_s=step_s),
        chart("Published per second, 24 h", "/s", day_rate, step_s=day_step_s),
        chart("Change to output, p99, 24 h", "s", day_latency, step_s=day_step_s),
    )


def letters(answering: Sequence[Snapshot]) -> Markup:
    """Return the dead letters of all workers by reason, without the values that the reasons quote."""
    counts: Counter[str] = Counter()
    newest: dict[str, float] = {}
    for letter in [letter for snapshot in answering for letter in snapshot.get("letters", ())]:
        counts[letter["reason"]] += letter["count"]
        newest[letter["reason"]] = max(letter["newest"], newest.get(letter["reason"], 0.0))
    rows = [(why, f"{n:,}", clock(newest[why])) for why, n in counts.most_common(MOST_REASONS_SHOWN)]
    caption = "Dead letters by reason, since the workers started"
    return table(caption, ("Reason", "Number", "Newest"), rows)


def worker_table(workers: Sequence[Seen]) -> Markup:
    """Return the workers, and the servers that they use."""
    return table(
        "Workers and their servers",
        ("Worker or server", "State", "Version", "Partitions", "Started (UTC)"),
        [row for seen in workers for row in _worker_rows(seen)],
    )


def _worker_rows(seen: Seen) -> Iterator[tuple[Any, ...]]:
    if seen.snapshot is None:
        last = "has never answered" if seen.answered_at is None else f"last answer {clock(seen.answered_at)}"
        yield seen.name, f"{seen.fault}; {last}", None, None, None
        return
    stats = seen.snapshot["stats"]
    running = [part for part in stats.get("partitions", {}).values() if part.get("state") == "running"]
    state = "ready" if stats.get("ready") else "not ready"
    ahead_s = seen.snapshot.get("at", seen.answered_at or 0.0) - (seen.answered_at or 0.0)
    if abs(ahead_s) > CLOCKS_APART_S:
        state += f"; its clock is {abs(ahead_s):,.0f} s {'ahead' if ahead_s > 0 else 'behind'}"
    started = f"{datetime.fromtimestamp(seen.snapshot.get('started_at', 0), UTC):%Y-%m-%d %H:%M:%S}"
    partitions = f"{len(running)} of {len(stats.get('partitions', {}))} running"
    yield f"{seen.name} ({seen.app or 'unknown'})", state, seen.snapshot.get("version"), partitions, started
    for part, since in stats.get("away_since", {}).items():
        server = server_of(part, seen.snapshot.get("servers", {}).get(part))
        yield f"{server}, for {seen.name}", f"does not answer since {clock(since)}", None, None, None


def partition_table(workers: Sequence[Seen]) -> Markup:
    """Return the partitions that are furthest behind, and those that are not running."""
    rows = [row for seen in workers if seen.snapshot is not None for row in _partition_rows(seen.name, seen.snapshot)]
    rows.sort(key=lambda row: (row[0], row[1]), reverse=True)
    shown = [row[2:] for row in rows[:MOST_PARTITIONS]]
    caption = f"Partitions: {len(rows)}" + (f", the {len(shown)} furthest behind" if len(rows) > len(shown) else "")
    heads = ("Source partition", "Waiting", "Oldest", "Drained in", "Owner")
    return table(caption, heads, shown, empty="No partition is assigned.")


def _partition_rows(worker: str, snapshot: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    stats = snapshot["stats"]
    rate = snapshot.get("rates", {}).get("records", 0.0)
    for name, part in stats.get("partitions", {}).items():
        if part.get("state") != "running":
            left, error = part.get("restore_remaining") or 0, part.get("error") or ""
            state = f"{part.get('state')}, {counted(left, 'changelog record')} to restore {error[:80]}"
            yield float("inf"), 0, f"partition {name}", state, None, None, worker
    for place, source in stats.get("sources", {}).items():
        lag, oldest_s = source.get("lag", 0), source.get("oldest_s")
        drained = None if not lag else age(lag / rate) if rate else "not draining"
        yield oldest_s or 0.0, lag, place, f"{lag:,}", age(oldest_s), drained, worker


# -- figures of several workers ---------------------------------------------------------------------------------------


def _rate(answering: Sequence[Snapshot], window: str) -> str:
    return f"{sum(snapshot.get('rates', {}).get(window, 0.0) for snapshot in answering):,.1f}"


def _count(answering: Sequence[Snapshot], name: str) -> int:
    return sum(int(snapshot["stats"].get(name, 0)) for snapshot in answering)


def _sum(answering: Sequence[Snapshot], name: str, window: str) -> list[int]:
    counts = [snapshot[name][window] for snapshot in answering if window in snapshot.get(name, {})]
    return [sum(column) for column in zip(*counts, strict=False)]


def _aligned(series: Sequence[Sequence[float]], together: Any) -> list[float]:
    """Return one series of several that end now but began at different times."""
    longest = max([len(one) for one in series], default=0)
    filled = [[0.0] * (longest - len(one)) + [*one] for one in series]
    return [round(together(column), 3) for column in zip(*filled, strict=True)]


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def age(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
