"""Goal: the page says what is so, stays small however much there is, and shows foreign text as text.

Method: snapshots of workers, made by hand; the HTML is read as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from streams.runtime.web.dashboard.board import Seen
from streams.runtime.web.dashboard.sections import sections
from streams.runtime.web.rules import Verdict
from tables.views.lake import lake_section
from tables.views.people import order_page, waiting_section
from tables.views.rules import ORDER_RULES
from tests.unit.dashboard.snapshots import NOON, seen, snapshot, source

ODD = "<script>alert('x')</script>&\""
PARTS = {"waiting": waiting_section, "lake": lake_section}
MOST_EVENT_BYTES, MOST_PAGE_BYTES = 8_000, 16_000
EACH_SECOND = ("verdict", "faults", "figures", "waiting", "workers", "partitions")


def shown(*workers: Seen) -> dict[str, str]:
    """The text of each section."""
    found = sections(workers, ORDER_RULES, PARTS)
    return {name: " ".join(re.sub(r"<[^>]*>", " ", html).split()) for name, html in found.items()}


def away(name: str = "b:6066", *, answered_at: float | None = NOON, is_member: bool = True) -> Seen:
    return Seen(name=name, snapshot=None, answered_at=answered_at, is_member=is_member, fault="no answer within 1 s")


def alert(rule: str, found: str = "") -> dict[str, Any]:
    return {"rule": rule, "since": NOON, "found": found}


def waiting(*orders: Mapping[str, Any], count: int | None = None) -> dict[str, Any]:
    return {"count": len(orders) if count is None else count, "orders": orders}


def order(order_id: str = "order-1", age_s: float | None = 90.0) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "reason": "products_missing",
        "num_products": 3,
        "products_present": 1,
        "first_seen_at": "2026-01-01T12:00:00Z",
        "age_s": age_s,
    }


OPENING: dict[str, Any] = {
    "ready": False,
    "partitions": {"0": {"state": "running", "error": None}, "1": {"state": "waiting", "error": "RedisAwayError(…)"}},
}


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ([seen()], "Right Every change that Kafka had at 12:00:00 UTC is out. 1 of 1 worker. No dead letters since"),
        ([seen(stats={"sources": {"orders/0": source(1_200, 0.42)}})], "Right 1,200 changes are on their way, the"),
        (
            [seen(stats={"sources": {"orders/0": source(1, 0.42)}})],
            "Right 1 change is on its way, the oldest for 0",
        ),
        ([seen(stats={"ready": False})], "Cannot tell The workers have not opened all their partitions yet"),
        ([seen(stats=OPENING)], "Cannot tell 1 of 2 partitions of a:6066 is opened again after an error: RedisAway"),
        (
            [
                seen(stats={"away_since": {"guard": NOON}}, servers={"guard": "Redis"}),
                seen("b:6066", stats=OPENING),
            ],
            "Behind A server that a worker needs does not answer since 12:00:00 UTC: Redis (guard) for 0 s (a:6066).",
        ),
        ([seen(stats={"away_since": {"guard": NOON}})], "Right Every change"),
        ([seen(kafka_at=NOON - 2)], "Right Every change that Kafka had at 11:59:58 UTC is out."),
        (
            [seen(), seen("b:6066", kafka_at=NOON - 12)],
            "Cannot tell Kafka does not answer a worker since 11:59:48 UTC: no answer for 12 s (b:6066).",
        ),
        (
            [seen(kafka_at=NOON - 60, alerts=[alert("Behind")])],
            "Cannot tell Kafka does not answer a worker since 11:59",
        ),
        ([seen(), away()], "Cannot tell A worker does not answer since 12:00:00 UTC: no answer within 1 s (b:6066)."),
        ([seen(), away(answered_at=None)], "Cannot tell A worker does not answer: no answer within 1 s (b:6066)."),
        ([seen(), away(is_member=False)], "Right Every change"),
        ([seen(stats={"sources": {}})], "Right No source partition is assigned to these workers"),
        ([seen(alerts=[alert("Behind", "orders/1")])], "Behind A source partition is more than a minute behind"),
        ([seen(alerts=[alert("Behind"), alert("DeadLettersGrow", "3")])], "Waits for a person Records became dead"),
        (
            [seen(alerts=[alert("OrdersLate"), alert("Behind"), alert("ServerAway", "Redis (guard) for 90 s")])],
            "Behind A server that a worker needs does not answer since 12:00:00 UTC: Redis (guard) for 90 s",
        ),
        ([seen(alerts=[alert("OfAnotherVersion")])], "Cannot tell A worker reports OfAnotherVersion"),
    ],
)
def test_the_verdict_is_the_worst_of_what_the_workers_say(workers: Sequence[Seen], expected: str) -> None:
    assert shown(*workers)["verdict"].startswith(expected)


def test_a_worker_that_left_is_named_in_the_sentence_as_long_as_it_is_listed() -> None:
    earlier = away("c:6066", answered_at=NOON - 60, is_member=False)
    assert "left" not in shown(seen())["verdict"]
    assert shown(seen(), away(is_member=False))["verdict"].endswith("b:6066 left the group; last answer 12:00:00 UTC.")
    both = shown(seen(), away(is_member=False), earlier)["verdict"]
    assert both.endswith("b:6066 and 1 other left the group; last answer 12:00:00 UTC.")


def test_a_fault_has_its_place_its_meaning_and_a_command() -> None:
    text = shown(seen(alerts=[alert("DeadLettersGrow", "3 dead letters in 10 minutes")]))["faults"]
    [rule] = [rule for rule in ORDER_RULES if rule.name == "DeadLettersGrow"]
    for part in ("a:6066: 3 dead letters in 10 minutes", "12:00:00 UTC", rule.impact, rule.do, rule.docs):
        assert part in text
    verdict = shown(seen(alerts=[alert("DeadLettersGrow", "3 dead letters in 10 minutes")]))["verdict"]
    assert verdict.endswith("3 dead letters in 10 minutes (a:6066). Begin with millrace dead-letters list .")
    assert "Begin with" not in shown(seen())["verdict"]
    assert shown(seen())["faults"] == ""


def test_a_server_whose_alert_fires_is_named_once() -> None:
    text = shown(seen(kafka_at=NOON - 60, alerts=[alert("KafkaUnanswered", "no answer for 60 s")]))["faults"]
    assert text.count("no answer for 60 s") == 1


def test_a_fault_at_several_workers_is_one_row_and_hides_no_other() -> None:
    workers = [seen(f"{n}:6066", alerts=[{**alert("SourceHeldUp", "x"), "since": NOON + n}]) for n in range(5)]
    text = shown(*workers, seen("9:6066", alerts=[alert("Behind", "late")]))["faults"]
    assert "0:6066: x; 1:6066: x; 2:6066: x; and 2 more 12:00:00 UTC" in text
    assert text.count("An open transaction holds a source topic up") == 1
    assert "9:6066: late" in text


def test_a_worker_of_another_version_that_says_less_is_shown_with_what_it_says() -> None:
    old = Seen(
        name="b:6066", snapshot={"stats": {"app": "millrace-orders", "ready": True, "records": 5}}, answered_at=NOON
    )
    found = shown(seen(), old)
    assert "b:6066 (millrace-orders) ready – 0 of 0 running" in found["workers"]
    assert "Changes processed 105" in found["figures"]


SAYS_OTHERWISE: dict[str, Any] = {
    "letters": [{"why": 1}],
    "alert_log": [{"rule": "x"}],
    "waiting": {"number": 3},
    "series": {"rate": "fast", "p99": [None]},
    "visible": [1, 2],
    "rates": [3],
}


def test_a_worker_of_another_version_that_says_other_things_spoils_no_other_section() -> None:
    found = shown(seen(), seen("b:6066", version="9.0.0", **SAYS_OTHERWISE))
    assert "several versions" in found["letters"]
    assert "several versions" in found["alerts"]
    assert "several versions" in found["waiting"]
    assert "b:6066 (millrace-orders) ready 9.0.0" in found["workers"]
    with pytest.raises((AttributeError, KeyError, TypeError)):
        shown(seen(**SAYS_OTHERWISE))  # of the same version, it is a fault of this program


def test_an_alert_that_only_its_worker_knows_is_no_reason_to_call_all_right() -> None:
    found = shown(seen(), seen("c:6066", alerts=[alert("OfTomorrow", "3 things")]))
    assert found["verdict"].startswith("Cannot tell A worker reports OfTomorrow")
    assert "3 things (c:6066)" in found["verdict"]


def test_workers_of_other_applications_are_judged_but_not_added_up() -> None:
    archive = {"app": "millrace-archive", "records": 5_000, "sources": {"orders/0": source(7_000, 30.0)}}
    found = shown(seen(), seen("c:6066", stats=archive))
    assert found["verdict"].startswith("Right Every change that Kafka had at 12:00:00 UTC is out. 2 of 2 workers.")
    assert "Changes processed 100 " in found["figures"]
    assert "c:6066 (millrace-archive) ready" in found["workers"]
    assert "orders/0 7,000 30 s" in found["partitions"]
    assert shown(seen(), seen("c:6066", stats=archive, alerts=[alert("Behind")]))["verdict"].startswith("Behind")
    assert shown(seen(), seen("c:6066", stats={**archive, "ready": False}))["verdict"].startswith("Cannot tell")


def test_a_worker_that_does_not_answer_is_shown_with_its_last_answer() -> None:
    text = shown(seen(), away(), away("c:1", answered_at=None))["workers"]
    assert "b:6066 no answer within 1 s; last answer 12:00:00 UTC" in text
    assert "c:1 no answer within 1 s; has never answered" in text


@pytest.mark.parametrize(("ahead_s", "words"), [(0.9, "ready 0.2.0"), (3_600, "3,600 s ahead"), (-61, "61 s behind")])
def test_a_clock_that_is_off_is_named(ahead_s: float, words: str) -> None:
    assert words in shown(seen(), seen("b:6066", at=NOON + ahead_s))["workers"]


def test_a_server_that_does_not_answer_is_a_row_of_its_own() -> None:
    text = shown(seen(stats={"away_since": {"guard": NOON}}, servers={"guard": "Redis"}))["workers"]
    assert "Redis (guard), for a:6066 does not answer since 12:00:00 UTC" in text
    older = shown(seen(stats={"away_since": {"guard": NOON}}))["workers"]
    assert "the server of guard, for a:6066 does not answer since 12:00:00 UTC" in older


def test_partitions_that_wait_or_are_behind_come_first_with_the_time_to_drain() -> None:
    stats = {
        "partitions": {"order_state/1": {"state": "opening", "restore_remaining": 500, "error": None}},
        "sources": {"orders/0": source(), "orders/1": source(100, 42.0)},
    }
    text = shown(seen(stats=stats))["partitions"]
    first = "partition order_state/1 opening, 500 changelog records to restore – – a:6066"
    assert f"{first} orders/1 100 42 s 10 s a:6066 orders/0 0 0 s – a:6066" in text


def test_incomplete_orders_of_all_workers_are_listed_the_oldest_first() -> None:
    later = {**order("order-2", None), "first_seen_at": None}
    found = shown(seen(waiting=waiting(order(), count=7_000)), seen("b:6066", waiting=waiting(later)))
    assert found["waiting"].startswith("Incomplete orders: 7,001, the oldest 2")
    assert "order-1 products missing 1 of 3 1 min" in found["waiting"]
    assert "7,001 orders wait to be complete" in found["verdict"]


def test_dead_letters_of_all_workers_are_added_up_by_reason() -> None:
    letters = [{"reason": "quantity: must be at least n", "count": 2, "newest": NOON}]
    more = [*letters, {"reason": ODD, "count": 1, "newest": NOON - 60}]
    text = shown(seen(letters=letters), seen("b:6066", letters=more))["letters"]
    assert "quantity: must be at least n 4 12:00:00 UTC" in text
    assert "&lt;script&gt;" in text
    assert "None." in shown(seen())["letters"]


def test_foreign_text_is_shown_as_text() -> None:
    stats = {
        "sources": {ODD: source(1, 1.0)},
        "partitions": {ODD: {"state": ODD, "error": ODD}},
        "away_since": {ODD: NOON},
    }
    worker = seen(ODD, stats=stats, alerts=[alert("DeadLettersGrow", ODD)], waiting=waiting(order(ODD)), version=ODD)
    found = sections([worker], ORDER_RULES, PARTS)
    whole = "".join(found.values())
    assert "<script" not in whole
    assert whole.count("&lt;script&gt;") >= 8
    page = order_page(ODD, {"error": ODD})
    assert ODD not in page


ODD_IDS = [ODD, "a/b", "../..", "a b", "ä€😀\u202e", "%2F", "?x=1#y", "'\"", "\x00\n", "é" * 255]


@pytest.mark.parametrize("order_id", ODD_IDS, ids=ascii)
def test_an_order_of_an_odd_id_is_listed_and_linked_as_what_it_is(order_id: str) -> None:
    html = waiting_section([waiting(order(order_id))])
    [link] = re.findall(r'<a href="/orders/([^"]*)/">', html)
    assert unquote(link) == order_id
    assert re.fullmatch(r"[\w.%~-]+", link), "a link that any browser asks for as it is"
    assert "<script" not in html
    page = order_page(order_id, {"error": f"order {order_id} is unknown"})
    assert escape(f"Order {order_id}") in page
    assert "<script" not in page


def test_an_id_of_10_kb_is_cut_off_in_a_list_and_whole_on_its_page() -> None:
    long = "x" * 10_000
    assert ">" + "x" * 64 + "…</a>" in waiting_section([waiting(order(long))])
    assert long in order_page(long, {"error": "it is unknown"})


def test_the_page_stays_small_with_96_partitions_and_10_000_incomplete_orders() -> None:
    sources = {
        f"mysql.project_db.{table}/{n}": source(n, n / 7) for n in range(96) for table in ("orders", "order_details")
    }
    orders = [order(f"0f8fad5b-d9cb-469f-a165-7086772{n:05d}") for n in range(50)]
    partitions = {str(n): {"state": "running"} for n in range(96)}
    worker = seen(stats={"sources": sources, "partitions": partitions}, waiting=waiting(*orders, count=10_000))
    found = sections([worker, seen("b:6066")], ORDER_RULES, PARTS)
    assert len(msgspec.json.encode({name: str(html) for name, html in found.items()})) < MOST_PAGE_BYTES
    assert len(msgspec.json.encode({name: str(found[name]) for name in EACH_SECOND})) < MOST_EVENT_BYTES
    assert "Partitions: 194, the 16 furthest behind" in found["partitions"]
    assert "mysql.project_db.orders/95" in found["partitions"]


def test_nothing_at_all_is_said_to_be_so() -> None:
    young = seen(stats={"sources": {}, "partitions": {}}, series={}, visible={}, rates={}, waiting=waiting())
    found = shown(young)
    assert "No partition is assigned." in found["partitions"]
    assert "Every order is complete." in found["waiting"]
    assert "A chart appears after 20 s." in found["charts"]


def test_every_verdict_has_a_look_of_its_own() -> None:
    rules = {rule.verdict: rule.name for rule in ORDER_RULES}
    looks = {verdict: sections([seen(alerts=[alert(rules[verdict])])], ORDER_RULES, {})["verdict"] for verdict in rules}
    assert rules.keys() == set(Verdict) - {Verdict.RIGHT}
    assert len({re.search(r'class="(\w+)"', look)[1] for look in looks.values()}) == len(rules)  # type: ignore[index]


def test_a_snapshot_is_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(snapshot())) == snapshot()
