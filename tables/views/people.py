"""Pages for people: the orders that wait, as a section of the page `/`, and the life of one order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.table import TransactionalTable
from streams.runtime.web.dashboard.html import Markup, document, element, joined, table, text
from streams.runtime.web.dashboard.sections import age
from streams.runtime.web.pages import Part, open_partitions
from streams.runtime.web.words import counted
from tables.views import incomplete

MOST_ORDERS: Final = 10
MOST_LINES: Final = 200
MOST_ID_CHARACTERS: Final = 64
"""Length at which an id is cut off in a list; the page of the order has it whole."""

_MOVING: Final = " Its partition is being opened elsewhere, which takes seconds. Nothing is lost; load this page again."
_ACQUIRED: Final = "guard: acquired"
_YES_OR_NO: Final = {True: "yes", False: "no", None: None}


def waiting_orders(app: TransactionalApp, orders: TransactionalTable) -> Part:
    """Return how the page `/` shows incomplete orders."""
    return Part(figures=lambda: incomplete.listing(orders, open_partitions(app), MOST_ORDERS), section=waiting_section)


def waiting_section(parts: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the oldest incomplete orders of all workers."""
    orders = sorted((o for part in parts for o in part["orders"]), key=lambda o: o["first_seen_at"] or "")
    rows = [
        (
            link_to(order["order_id"]),
            order["reason"].replace("_", " "),
            f"{order['products_present']} of {order['num_products'] or '?'}",
            age(order["age_s"]),
        )
        for order in orders[:MOST_ORDERS]
    ]
    count = sum(part["count"] for part in parts)
    caption = f"Incomplete orders: {count:,}" + (f", the oldest {len(rows)}" if count > len(rows) else "")
    return table(caption, ("Order", "Waits for", "Products", "Age"), rows, empty="Every order is complete.")


def link_to(order_id: str) -> Markup:
    """Return a link to the page of an order, which any worker serves."""
    shown = order_id if len(order_id) <= MOST_ID_CHARACTERS else f"{order_id[:MOST_ID_CHARACTERS]}…"
    return element("a", shown, href=f"/orders/{quote(order_id, safe='')}/")


def order_page(order_id: str, view: Mapping[str, Any], *, is_moving: bool = False) -> str:
    """Return the life of an order for people, from the view `/orders/{order_id}/` of the worker that owns it.

    Args:
        is_moving: whether no worker can answer at the moment, because another one takes the order over.
    """
    if is_moving:
        word = element("strong", "Moves to another worker")
        why = element("p", view.get("error"), class_="quiet")
        body = element("section", element("p", word, _MOVING, class_="behind"), why, id="verdict")
    elif "error" in view:
        sentence = element("p", element("strong", "Cannot tell"), " ", view["error"], class_="unknown")
        body = element("section", sentence, id="verdict")
    else:
        body = joined(element("section", _sentence(view), id="verdict"), *_life(view))
    home = element("p", element("a", "All workers", href="/"))
    return document(f"Order {order_id}", element("h1", f"Order {order_id}"), element("main", body, home), live=False)


def _sentence(view: Mapping[str, Any]) -> Markup:
    """Return what an order is now, in one sentence."""
    status, emission = view["status"], view["emission"]
    if status == "forgotten":
        what = "Its retention time is over; only that it was published is still known."
    elif emission == "emitted":
        what = f"Published to order_final; {counted(view['revision'], 'amendment')} since then."
    elif emission == "elsewhere":
        what = "Published by another deployment, according to its lock."
    elif view["held"]:
        what = "Complete, but another deployment holds its lock; it is asked for again and again."
    elif view["row"] is None:
        what = "Waits for its row in orders; only product lines have arrived."
    elif view["row"]["deleted"]:
        what = "Deleted before it was published."
    else:
        what = f"Products still missing: {view['products_missing']}."
    kind = "right" if emission == "emitted" or status == "forgotten" else "behind"
    return element("p", element("strong", status.capitalize()), " ", what, class_=kind)


def _life(view: Mapping[str, Any]) -> Iterator[Markup]:
    """Yield what is known of an order: when it was seen, and the newest change of each of its rows.

    A worker of release 0.2, which may own the order during an upgrade, knows neither times nor lines.
    """
    seen = (("First change", view.get("first_seen_at")), ("Newest change", view.get("changed_at")))
    facts = [*seen, ("Reported as incomplete for too long", _YES_OR_NO[view.get("reported")])]
    yield table("Its first and newest change", ("", "When, by the database's clock"), facts)
    yield _events(view)
    row = view["row"]
    if row is not None:
        rows = [(name, _YES_OR_NO[row[name]] if name == "deleted" else row[name]) for name in row if name != "position"]
        yield table("Its row in orders", ("Column", "Value"), [*rows, ("position of its newest change", _place(row))])
    if "lines" not in view:
        return
    lines = view["lines"]
    shown = [
        (line["product_id"], line["quantity"], "deleted" if line["deleted"] else "there", _place(line))
        for line in lines[:MOST_LINES]
    ]
    caption = f"Product lines: {len(lines)}" + (f", the first {len(shown)}" if len(lines) > len(shown) else "")
    yield table(caption, ("Product", "Quantity", "Now", "Position of its newest change"), shown)


def _events(view: Mapping[str, Any]) -> Markup:
    """Return what its worker remembers; one of an older version says nothing."""
    if "events" not in view:
        return joined(element("h2", "What happened"), element("p", "Its worker is of a version that does not say."))
    rows = [
        (
            _instant(event["at"]),
            event["what"].replace(_ACQUIRED, f"claimed ({_ACQUIRED})"),
            "/".join(str(part) for part in event["place"]) if event.get("place") else None,
            _place(event) if "position" in event else None,
            _instant(event["changed_at"]) if event.get("changed_at") else None,
            event.get("details"),
        )
        for event in view["events"]["list"]
    ]
    since = f"Its worker remembers the newest changes only, all of them since {_instant(view['events']['since'])}."
    heads = ("When (UTC)", "What", "Topic/partition/offset", "Position", "Committed in the source", "Columns")
    return joined(table("What happened", heads, rows), element("p", since, class_="quiet"))


def _instant(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _place(row: Mapping[str, Any]) -> Markup:
    return text(" / ".join(str(part) for part in row["position"]))
