"""The plan of a Gold table, as parsed from its file.

Each row of a dimension describes one member, such as a customer. The unknown member has the key -1. An inferred member
has only a key, which other tables refer to before the dimension's own row arrives. A dimension with history has one row
for each version of a member, identified by a surrogate key (`customer_sk`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from batch.gold.columns import GoldColumn

Kind = Literal["dimension", "fact"]


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """A Silver table that a Gold table reads.

    Attributes:
        columns: pairs of a Silver column and a Gold column. A Silver row affects the Gold rows with equal values in
            these columns; without any pairs it affects all Gold rows.
    """

    table: str
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Link:
    """A reference from a fact to the version of a dimension's member that was valid at a time.

    Attributes:
        key: column of the fact with the member's key, which has the same name in the dimension.
        at: column of the fact with the time.
    """

    dimension: str
    key: str
    at: str


@dataclass(frozen=True, kw_only=True)
class GoldPlan:
    """The plan by which a Gold table is built.

    Attributes:
        key: key columns named in the file; a table with versions has several rows per key (see `row_key`).
        inferred_from: pairs of a Silver table and its column that refers to this dimension.
        links: references to dimensions with history type 2, whose versions the table names.
        scd: history type of a dimension: 1, 2 or 4.
        versions_of: source table whose row versions are the rows; None for a table of the newest state.
        fingerprint: changes whenever the file changes, except for the descriptions of columns.
        columns: described columns; empty if the file describes none.
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
        """Whether the table has a row for the unknown member, and rows for inferred members."""
        return self.kind == "dimension" and (self.versions_of is None or self.scd == 2)

    @property
    def concerned_by(self) -> tuple[Dependency, ...]:
        """All dependencies by which a Silver row affects rows of this table."""
        return (*self.depends_on, *self.inferring)

    @property
    def inferring(self) -> tuple[Dependency, ...]:
        """The dependencies from which members are inferred."""
        return tuple(Dependency(table=table, columns=((name, self.key[0]),)) for table, name in self.inferred_from)

    @property
    def mapped(self) -> tuple[str, ...]:
        """The key columns that select affected rows; empty if every Silver row affects all rows."""
        return next((tuple(name for _, name in each.columns) for each in self.concerned_by if each.columns), ())

    @property
    def tables(self) -> list[str]:
        """The sorted names of the Silver tables that the table is built from."""
        return sorted({dependency.table for dependency in self.concerned_by})


def surrogate(key: str) -> str:
    """Return the name of a surrogate key, from the key of the member: `customer_sk` from `customer_id`."""
    return f"{key.removesuffix('_id')}_sk"


def added_columns(plan: GoldPlan) -> list[tuple[str, str, str]]:
    """Return name, type and meaning of the columns that the build adds to those of the query, because of versions."""
    found = [
        (surrogate(link.key), "bigint", f"The version of the member ({link.dimension}) at that time; -1: unknown.")
        for link in plan.links
    ]
    if plan.versions_of is not None:
        found += [
            (surrogate(plan.key[0]), "bigint", "Identifies this version of the member; -1: the unknown member."),
            ("valid_from", "timestamp", "When the source committed the version, in UTC; NULL: unknown."),
            ("valid_to", "timestamp", "When the next version began or the member was deleted, in UTC; NULL: current."),
            ("is_current", "boolean", "Whether this is the newest version of a member that still exists."),
        ]
    return found


def history_of(name: str) -> str:
    """Return the name of the second table, with versions, of a dimension with history type 4."""
    return f"{name}_history"
