"""When alerts fired and when they ended, as a worker remembers it and as the page shows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from streams.runtime.web.dashboard.board import Seen
from streams.runtime.web.dashboard.html import Markup, table
from streams.runtime.web.dashboard.verdict import clock
from streams.runtime.web.rules import Rule

MOST_ENDED: Final = 20
MOST_SHOWN: Final = 10
MOST_CHARACTERS: Final = 200


class AlertLog:
    """The alerts of a worker that fire now, and the newest of those that have ended."""

    def __init__(self) -> None:
        self._firing: dict[str, dict[str, Any]] = {}
        self._ended: deque[dict[str, Any]] = deque(maxlen=MOST_ENDED)

    def note(self, alerts: Sequence[Mapping[str, Any]], now: float) -> None:
        """Take in the alerts that fire at a Unix time; an alert that fired before and is not among them has ended."""
        for alert in alerts:
            known = self._firing.setdefault(alert["rule"], {"rule": alert["rule"], "fired": round(now), "ended": None})
            known["found"] = alert["found"][:MOST_CHARACTERS]
        for name in self._firing.keys() - {alert["rule"] for alert in alerts}:
            self._ended.append({**self._firing.pop(name), "ended": round(now)})

    def newest(self) -> list[dict[str, Any]]:
        """Return the alerts, the newest first: rule, last finding, Unix times at which it fired and at which it ended.

        An alert that still fires has None as its end.
        """
        return sorted([*self._firing.values(), *self._ended], key=lambda alert: -alert["fired"])[:MOST_SHOWN]


def alerts_section(workers: Sequence[Seen], rules: Sequence[Rule]) -> Markup:
    """Return the newest alerts of all workers; what a worker saw before its start is not known any more."""
    summaries = {rule.name: rule.summary for rule in rules}
    found = [
        (alert["fired"], seen.name, alert)
        for seen in workers
        if seen.snapshot is not None
        for alert in seen.snapshot.get("alert_log", ())
    ]
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    rows = [
        (
            summaries.get(alert["rule"], alert["rule"]),
            f"{worker}: {alert['found']}",
            clock(fired),
            "not yet" if alert["ended"] is None else clock(alert["ended"]),
        )
        for fired, worker, alert in found[:MOST_SHOWN]
    ]
    heads = ("Alert", "Last finding", "Fired", "Ended")
    return table("Newest alerts", heads, rows, empty="None since the workers started.")
