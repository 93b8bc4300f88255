"""Tables whose definition in the source is changed while everything runs, one change each, and what each part does.

`CHANGES` is the table of docs/operate/schema-drift.md: a test compares the two, and the nightly test observes each cell
on real servers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

GOES_ON: Final = "goes on"
WARNS: Final = "warns"
STOPS: Final = "stops"

PARTS: Final = ("orders", "connector", "warehouse", "Bronze, `changes`", "Bronze, `jdbc`", "Silver", "Gold")
"""The columns of the table, after the change."""

Columns = dict[str, dict[str, Any]]

NAME: Final = "drifting"
BASE: Final[Columns] = {
    "id": {"type": "bigint"},
    "n": {"type": "integer"},
    "amount": {"type": "decimal", "precision": 10, "scale": 2, "nullable": True},
    "note": {"type": "string", "length": 20, "nullable": True},
    "state": {"type": "string", "length": 10, "nullable": True},
}
ROW: Final = {"id": "10", "n": "10", "amount": "10.25", "note": "'ten'", "state": "'open'"}
"""A row that is inserted after the change, as SQL."""

_EXTRA: Final = {"type": "string", "length": 20, "nullable": True}
_STATES: Final = {
    "mysql": "MODIFY COLUMN state ENUM('open', 'paid', 'late') NULL",
    "postgres": "ALTER TYPE states ADD VALUE 'late'",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a table's definition in the source.

    Attributes:
        table: name of the table that is changed so.
        title: the change in the documents.
        sql: the statement, or what follows ALTER TABLE and the name, by engine.
        cells: what each part does after the change, in the order of `PARTS`.
        row: the row that is inserted afterwards, as SQL.
        columns: columns of the new definition.
        new_name: name of the table in the new definition.
        unlogged: whether the statement changes rows of which no change is captured.
    """

    table: str
    title: str
    sql: Mapping[str, str]
    cells: Sequence[str]
    row: Mapping[str, str] = field(default_factory=lambda: ROW)
    columns: Columns = field(default_factory=lambda: BASE)
    new_name: str = ""
    unlogged: bool = False

    def statement(self, engine: str) -> str:
        """Return the statement for an engine."""
        text = self.sql[engine]
        return text if text.startswith(("TRUNCATE", "ALTER TYPE")) else f"ALTER TABLE {self.table} {text}"

    @property
    def is_read_again(self) -> bool:
        """Whether the warehouse lacks values that only a new read of the table brings."""
        return self.unlogged or bool(self.columns.keys() - BASE.keys())

    @property
    def name(self) -> str:
        """Name of the table after the change."""
        return self.new_name or self.table


def _both(sql: str) -> dict[str, str]:
    return {"mysql": sql, "postgres": sql}


def _types(column: str, type_: str, rest: str = "") -> dict[str, str]:
    return {"mysql": f"MODIFY COLUMN {column} {type_} {rest}", "postgres": f"ALTER COLUMN {column} TYPE {type_}"}


def _without(name: str) -> Columns:
    return {key: value for key, value in BASE.items() if key != name}


def _renamed(old: str, new: str) -> Columns:
    return {new if key == old else key: value for key, value in BASE.items()}


def _row_without(name: str, **more: str) -> dict[str, str]:
    return {key: value for key, value in ROW.items() if key != name} | more


CHANGES: Final = (
    Change(
        table="nullable_added",
        title="a nullable column more",
        sql=_both("ADD COLUMN extra VARCHAR(20) NULL"),
        cells=(GOES_ON, WARNS, WARNS, WARNS, WARNS, GOES_ON, GOES_ON),
        row=ROW | {"extra": "'more'"},
        columns=BASE | {"extra": _EXTRA},
    ),
    Change(
        table="required_added",
        title="a column more that is `NOT NULL DEFAULT`",
        sql=_both("ADD COLUMN extra INT NOT NULL DEFAULT 7"),
        cells=(GOES_ON, WARNS, WARNS, WARNS, WARNS, GOES_ON, GOES_ON),
        row=ROW | {"extra": "8"},
        columns=BASE | {"extra": {"type": "integer"}},
        unlogged=True,
    ),
    Change(
        table="nullable_dropped",
        title="a nullable column dropped",
        sql=_both("DROP COLUMN note"),
        cells=(WARNS, WARNS, WARNS, WARNS, STOPS, GOES_ON, GOES_ON),
        row=_row_without("note"),
        columns=_without("note"),
    ),
    Change(
        table="required_dropped",
        title="a `NOT NULL` column dropped",
        sql=_both("DROP COLUMN n"),
        cells=(WARNS, WARNS, WARNS, STOPS, STOPS, STOPS, STOPS),
        row=_row_without("n"),
        columns=_without("n"),
    ),
    Change(
        table="nullable_renamed",
        title="a nullable column renamed",
        sql=_both("RENAME COLUMN note TO remark"),
        cells=(WARNS, WARNS, WARNS, WARNS, STOPS, GOES_ON, GOES_ON),
        row=_row_without("note", remark="'ten'"),
        columns=_renamed("note", "remark"),
        unlogged=True,
    ),
    Change(
        table="required_renamed",
        title="a `NOT NULL` column renamed",
        sql=_both("RENAME COLUMN n TO number"),
        cells=(WARNS, WARNS, WARNS, STOPS, STOPS, STOPS, STOPS),
        row=_row_without("n", number="10"),
        columns=_renamed("n", "number"),
        unlogged=True,
    ),
    Change(
        table="number_widened",
        title="`int` becomes `bigint`",
        sql=_types("n", "BIGINT", "NOT NULL"),
        cells=(GOES_ON, WARNS, GOES_ON, GOES_ON, STOPS, WARNS, GOES_ON),
        row=ROW | {"n": "5000000000"},
        columns=BASE | {"n": {"type": "bigint"}},
    ),
    Change(
        table="text_widened",
        title="`varchar` becomes longer",
        sql=_types("note", "VARCHAR(200)", "NULL"),
        cells=(GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON),
        row=ROW | {"note": f"'{'long ' * 30}'"},
        columns=BASE | {"note": BASE["note"] | {"length": 200}},
    ),
    Change(
        table="scale_raised",
        title="`numeric` with more decimals",
        sql=_types("amount", "DECIMAL(12,4)", "NULL"),
        cells=(GOES_ON, WARNS, GOES_ON, GOES_ON, GOES_ON, WARNS, GOES_ON),
        row=ROW | {"amount": "10.1234"},
        columns=BASE | {"amount": BASE["amount"] | {"precision": 12, "scale": 4}},
    ),
    Change(
        table="scale_lowered",
        title="`numeric` with fewer decimals",
        sql=_types("amount", "DECIMAL(10,1)", "NULL"),
        cells=(GOES_ON, WARNS, GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON),
        row=ROW | {"amount": "10.5"},
        columns=BASE | {"amount": BASE["amount"] | {"scale": 1}},
        unlogged=True,
    ),
    Change(
        table="choice_added",
        title="an `enum` with one value more",
        sql=_STATES,
        cells=(GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON),
        row=ROW | {"state": "'late'"},
    ),
    Change(
        table="table_renamed",
        title="the table renamed",
        sql=_both("RENAME TO moved"),
        cells=(STOPS, STOPS, GOES_ON, GOES_ON, STOPS, GOES_ON, GOES_ON),
        new_name="moved",
        unlogged=True,
    ),
    Change(
        table="truncated",
        title="the table truncated",
        sql=_both("TRUNCATE TABLE truncated"),
        cells=(WARNS, GOES_ON, WARNS, GOES_ON, GOES_ON, GOES_ON, GOES_ON),
    ),
)


def schema(engine: str) -> str:
    """Return the script that creates all tables as they are before their changes."""
    states = "states" if engine == "postgres" else "ENUM('open', 'paid')"
    columns = "id BIGINT PRIMARY KEY, n INT NOT NULL, amount DECIMAL(10,2) NULL, note VARCHAR(20) NULL"
    lines = ["CREATE TYPE states AS ENUM ('open', 'paid');"] if engine == "postgres" else []
    for change in CHANGES:
        lines.append(f"CREATE TABLE {change.table} ({columns}, state {states} NULL);")
        if engine == "postgres":
            lines.append(f"ALTER TABLE {change.table} REPLICA IDENTITY FULL;")
    return "\n".join(lines)


def rows_before(change: Change) -> str:
    """Return the statement that fills a table before its change."""
    rows = ", ".join(f"({number}, {number}, {number}.25, 'note {number}', 'open')" for number in range(1, 6))
    return f"INSERT INTO {change.table} (id, n, amount, note, state) VALUES {rows}"  # noqa: S608


def rows_after(change: Change) -> list[str]:
    """Return the statements that change a table's rows after its change: one of each kind."""
    values = ", ".join(change.row.values())
    return [
        f"UPDATE {change.name} SET state = 'paid' WHERE id = 1",  # noqa: S608
        f"DELETE FROM {change.name} WHERE id = 2",  # noqa: S608
        f"INSERT INTO {change.name} ({', '.join(change.row)}) VALUES ({values})",  # noqa: S608
    ]


def definition(name: str, engine: str, feed: str, *, is_new: bool) -> str:
    """Return a definition of the tables, before their changes or after them."""
    tables = [
        {
            "name": change.name if is_new else change.table,
            "key": ["id"],
            "feed": feed,
            **({} if feed == "jdbc" else {"warehouse": {"table": change.table, "kind": "fact"}}),
            "columns": [{"name": column, **kind} for column, kind in (change.columns if is_new else BASE).items()],
        }
        for change in CHANGES
    ]
    more = {"connector": {"database.server.id": "7391"}} if engine == "mysql" else {}
    whole = {"name": name, "engine": engine, "database": NAME, "lake_prefix": name, **more, "tables": tables}
    return yaml.safe_dump(whole, sort_keys=False)


def gold(change: Change, *, is_new: bool) -> str:
    """Return the file of the Gold table that has the rows of a table."""
    table = change.name if is_new else change.table
    columns = change.columns if is_new else BASE
    lines = [
        "-- kind: fact",
        "-- key: id",
        f"-- depends_on: {table}(id -> id)",
        *(f"-- column: {name} {_spark(kind)} from {table}.{name}: Of the table." for name, kind in columns.items()),
        f"SELECT {', '.join(columns)} FROM {table}",  # noqa: S608
    ]
    return "\n".join(lines) + "\n"


def _spark(kind: Mapping[str, Any]) -> str:
    if kind["type"] == "decimal":
        return f"decimal({kind['precision']},{kind['scale']})"
    return "int" if kind["type"] == "integer" else str(kind["type"])
