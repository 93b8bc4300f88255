"""The plan of a Gold table, decoded from its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from batch.gold.columns import GoldColumn

Kind = Literal["dimension", "fact"]


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """A Silver table that is read; `columns` (its own, the Gold table's) say which rows concern each other."""

    table: str
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Link:
    """A fact names a member of a dimension by a column, as it was at the time in another one."""

    dimension: str
    key: str
    at: str


@dataclass(frozen=True, kw_only=True)
class GoldPlan:
    """How a Gold table is made.

    Attributes:
        key: that of the file; of a table with versions it is there once for each (see `row_key`).
        inferred_from: tables and their columns.
        links: the dimensions of which the table names versions; those of other history types are not among them.
        versions_of: the source's table whose versions the rows are; None if they are the newest state.
        fingerprint: changes with the file, except for the descriptions of columns.
        columns: those that the file describes; none if it does not.
    """

    name: str
    kind: Kind
    key: tuple[str, ...]
    depends_on: tuple[Dependency, ...]
    inferred_from: tuple[tuple[str, str], ...]
    links: tuple[Link, ...] = ()
    scd: int
    partition: str | None
    query: str
    fingerprint: str
    versions_of: str | None = None
    description: str = ""
    columns: tuple[GoldColumn, ...] = ()

    @property
    def row_key(self) -> tuple[str, ...]:
        """The columns that identify a row of the table."""
        return self.key if self.versions_of is None else (surrogate(self.key[0]),)

    @property
    def has_members(self) -> bool:
        """Whether there is a row for the unknown, and for keys that are merely referred to."""
        return self.kind == "dimension" and (self.versions_of is None or self.scd == 2)

    @property
    def concerned_by(self) -> tuple[Dependency, ...]:
        """Every way in which a row of Silver concerns rows of this table."""
        return (*self.depends_on, *self.inferring)

    @property
    def inferring(self) -> tuple[Dependency, ...]:
        """Those by which members are inferred."""
        return tuple(Dependency(table=table, columns=((name, self.key[0]),)) for table, name in self.inferred_from)

    @property
    def mapped(self) -> tuple[str, ...]:
        """The key's columns by which the affected rows are found."""
        return next((tuple(name for _, name in each.columns) for each in self.concerned_by if each.columns), ())

    @property
    def tables(self) -> list[str]:
        """The Silver tables that it is made from."""
        return sorted({dependency.table for dependency in self.concerned_by})


def surrogate(key: str) -> str:
    """The column that names a version of a member, from the one that names the member: `customer_sk`."""
    return f"{key.removesuffix('_id')}_sk"


def added_columns(plan: GoldPlan) -> list[tuple[str, str, str]]:
    """Name, type and meaning of the columns that versions add to those of the query."""
    found = [
        (surrogate(link.key), "bigint", f"The version of the member ({link.dimension}) at that time; -1: unknown.")
        for link in plan.links
    ]
    if plan.versions_of is not None:
        found += [
            (surrogate(plan.key[0]), "bigint", "Names this version of the member; -1: the unknown member."),
            ("valid_from", "timestamp", "When the source committed the version, in UTC; NULL: not known."),
            ("valid_to", "timestamp", "When the next version came, or the member went, in UTC; NULL: current."),
            ("is_current", "boolean", "Whether it is the newest version, and the member is still there."),
        ]
    return found


def history_of(name: str) -> str:
    """The second table of a dimension of history type 4."""
    return f"{name}_history"
