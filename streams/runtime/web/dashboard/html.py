"""Building blocks of the page: escaped text, tables and charts as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Headers of a page for people: nothing is loaded from elsewhere, and no script or style is in the page itself."""

MOST_CHART_ROWS: Final = 16
"""Rows of a chart's table, at equal distances."""

_CHART_WIDTH, _CHART_HEIGHT = 300, 60


class Markup(str):
    """Text that is HTML already; all other text is escaped."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Return a value as HTML; None is a dash."""
    if isinstance(value, Markup):
        return value
    return Markup(escape("–" if value is None else str(value)))


def joined(*parts: Any) -> Markup:
    """Return the parts one after the other."""
    return Markup("".join(text(part) for part in parts))


def element(name: str, *content: Any, **attributes: str) -> Markup:
    """Return an element; an underscore in an attribute's name is a hyphen, at its end it is nothing."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items() if value
    )
    return Markup(f"<{name}{written}>{joined(*content)}</{name}>")


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str = "None.") -> Markup:
    """Return a table that a narrow screen can scroll; its first column names the row."""
    if not rows:
        return joined(element("h2", caption), element("p", empty, class_="quiet"))
    head = element("tr", *[element("th", name, scope="col") for name in heads])
    body = [
        element("tr", element("th", row[0], scope="row"), *[element("td", cell) for cell in row[1:]]) for row in rows
    ]
    whole = element("table", element("thead", head), element("tbody", *body))
    scroll = element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)
    return joined(element("h2", caption), scroll)


def tiles(figures: Sequence[tuple[str, str]]) -> Markup:
    """Return figures with their names."""
    return element("dl", *[element("div", element("dt", name), element("dd", value)) for name, value in figures])


def chart(title: str, unit: str, values: Sequence[float], *, step_s: int) -> Markup:
    """Return a line chart of values at equal distances, the newest at the right, with its figures in a table below."""
    if len(values) < 2:
        later = element("p", f"A chart appears after {_duration(2 * step_s)}.", class_="quiet")
        return element("div", element("h3", title), later, class_="chart")
    highest = max(values)
    across, up = _CHART_WIDTH / (len(values) - 1), (_CHART_HEIGHT - 4) / (highest or 1.0)
    points = " ".join(f"{i * across:.0f},{_CHART_HEIGHT - 2 - value * up:.0f}" for i, value in enumerate(values))
    label = f"now {values[-1]:g} {unit}, highest in {_duration(len(values) * step_s)} {highest:g} {unit}"
    line = element("polyline", points=points)
    drawn = element(
        "svg", line, viewBox=f"0 0 {_CHART_WIDTH} {_CHART_HEIGHT}", role="img", aria_label=f"{title}: {label}",
        preserveAspectRatio="none",
    )  # fmt: skip
    every = max(1, 60 // step_s, -(-len(values) // MOST_CHART_ROWS))
    rows = [
        element("tr", element("th", f"−{_duration(place * step_s)}", scope="row"), element("td", f"{value:g} {unit}"))
        for place, value in enumerate(reversed(values))
        if place % every == 0
    ]
    figures = element("details", element("summary", f"{title} as a table"), element("table", element("tbody", *rows)))
    return element("div", element("h3", title), element("p", label, class_="quiet"), drawn, figures, class_="chart")


def _duration(seconds: int) -> str:
    if seconds and seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"


def document(title: str, *body: Any, live: bool) -> str:
    """Return a whole page; a live one has the script that keeps it up to date."""
    script = '<script src="/assets/page.js" defer></script>' if live else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f'<link rel="stylesheet" href="/assets/page.css">{script}</head>'
        f"<body>{joined(*body)}</body></html>"
    )
