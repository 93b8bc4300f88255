"""Goal: the table of changes in docs/operate/schema-drift.md is what the nightly test observes, cell by cell.

Method: the page's table beside `CHANGES`, from which that test takes what it expects.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.lake.drifting_tables import CHANGES, PARTS

PAGE = (Path(__file__).parents[2] / "docs" / "operate" / "schema-drift.md").read_text()


def first_table() -> list[list[str]]:
    rows = []
    for line in PAGE[PAGE.index("| change |") :].splitlines():
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_page_has_each_change_with_what_each_part_does() -> None:
    header, _, *rows = first_table()
    assert header == ["change", *PARTS]
    assert [row[0] for row in rows] == [change.title for change in CHANGES]
    for row, change in zip(rows, CHANGES, strict=True):
        for part, cell, verdict in zip(PARTS, row[1:], change.cells, strict=True):
            assert cell.startswith(verdict), f"{change.title}, {part}: {cell!r} is not {verdict!r}"
