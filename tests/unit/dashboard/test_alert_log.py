"""Goal: a person sees on the page which alerts fired lately, and whether they are over.

Method: alerts come and go in a worker's log, and the section shows what several workers remember.
"""

from __future__ import annotations

import re
from typing import Any

from streams.runtime.web.dashboard.alert_log import MOST_SHOWN, AlertLog
from streams.runtime.web.dashboard.sections import sections
from streams.runtime.web.rules import RULES
from tests.unit.dashboard.snapshots import NOON, seen


def alert(rule: str, found: str = "x") -> dict[str, Any]:
    return {"rule": rule, "since": NOON - 60, "found": found}


def shown(*workers: Any) -> str:
    html = sections(list(workers), RULES, {})["alerts"]
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_an_alert_is_remembered_from_when_it_fired_to_when_it_ended() -> None:
    log = AlertLog()
    log.note([alert("Behind", "60 s"), alert("ServerAway")], NOON)
    log.note([alert("Behind", "90 s")], NOON + 10)
    assert [(a["rule"], a["fired"], a["ended"], a["found"]) for a in log.newest()] == [
        ("Behind", NOON, None, "90 s"),
        ("ServerAway", NOON, NOON + 10, "x"),
    ]


def test_an_alert_that_fires_again_is_another_one() -> None:
    log = AlertLog()
    for at, firing in enumerate((True, False, True)):
        log.note([alert("Behind")] if firing else [], NOON + at)
    assert [(a["fired"], a["ended"]) for a in log.newest()] == [(NOON + 2, None), (NOON, NOON + 1)]


def test_what_is_remembered_of_alerts_is_bounded() -> None:
    log = AlertLog()
    for at in range(200):
        log.note([alert("Behind", "y" * 1_000)] if at % 2 else [], NOON + at)
    assert len(log.newest()) == MOST_SHOWN
    assert sum(len(str(each)) for each in log.newest()) < 4_000


def test_the_newest_alerts_of_all_workers_are_shown() -> None:
    log = AlertLog()
    log.note([alert("Behind", "<b>")], NOON)
    log.note([], NOON + 61)
    words = shown(seen("a:1", alert_log=log.newest()), seen("b:2", alert_log=[]))
    assert "A source partition is more than a minute behind and does not catch up a:1: &lt;b&gt; 12:00:00" in words
    assert "12:01:01 UTC" in words


def test_an_alert_that_still_fires_says_so_and_an_unknown_one_has_its_name() -> None:
    firing = {"rule": "Other", "fired": NOON, "ended": None, "found": "z"}
    assert "Other a:6066: z 12:00:00 UTC not yet" in shown(seen(alert_log=[firing]))


def test_no_alert_at_all_and_a_worker_that_remembers_none_are_said_to_be_so() -> None:
    assert "None since the workers started." in shown(seen())
