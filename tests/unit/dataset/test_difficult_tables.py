"""Goal: the table of difficulties in the tutorial is that of the schema that a nightly test takes the whole way.

Method: both are compared, line by line.
"""

from __future__ import annotations

from stack.site import REPOSITORY
from tests.support.lake.difficult_tables import MARIADB, POSTGRES


def test_the_tutorial_names_every_difficulty() -> None:
    text = (REPOSITORY / "docs" / "tutorial" / "your-own-database.md").read_text("utf-8")
    found = [line for line in text.splitlines() if line.startswith(("| MariaDB | `", "| PostgreSQL | `"))]
    named = [("MariaDB", MARIADB), ("PostgreSQL", POSTGRES)]
    assert found == [
        f"| {engine} | `{table.plain_name}` | {table.difficulty} |" for engine, tables in named for table in tables
    ]
