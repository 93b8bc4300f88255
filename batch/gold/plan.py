"""The plan of a Gold table, as parsed from its SQL file.

Each row of a dimension describes one member, such as a customer. The unknown member, with key -1, stands for a missing
reference. An inferred member has only a key: other tables refer to it, but its own row has not arrived yet. A dimension
of SCD type 2 has one row for each version of a member, identified by a surrogate key such as `customer_sk`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from batch.gold.columns import GoldColumn
from config.parameters import Value, filled

Kind = Literal["dimension", "fact"]


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """A Silver table that a Gold table reads.

    Attributes:
        columns: pairs of a Silver column and a Gold column. A Silver row affects the Gold rows with equal values in
            these columns; if there are no pairs, it affects all Gold rows.
    """

    table: str
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Link:
    """A reference from a fact to the version of a dimension member that was valid at the time of the fact.

    Attributes:
        key: column with the member's key; it has the same name in the fact and in the dimension.
        at: column of the fact with its time.
    """

    dimension: str
    key: str
    at: str


@dataclass(frozen=True, kw_only=True)
class GoldPlan:
    """The plan of a Gold table: its query, its sources, and which source rows affect which of its rows.

    Attributes:
        key: key columns given in the SQL file; a table of row versions has several rows per key (see `row_key`).
        inferred_from: pairs of a Silver table and the column in it that refers to this dimension.
        links: references to versions of dimension members (SCD type 2).
        scd: SCD type of a dimension: 1, 2 or 4.
        versions_of: source table whose row versions this table has; None for a table of current rows.
        fingerprint: hash that changes with the file, except with comments, spaces and column descriptions.
        export: folder that also has the rows as a plain Parquet file; None if none does.
        is_in_redis: whether the rows are also in Redis.
        parameters: values of the parameters that the query names.
        columns: column descriptions; empty if the file has none.
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
    export: str | None = None
    is_in_redis: bool = False
    parameters: Mapping[str, Value] = field(default_factory=dict)
    description: str = ""
    columns: tuple[GoldColumn, ...] = ()

    @property
    def filled_query(self) -> str:
        """The query with the values of its parameters, as literals of Spark.

        Spark's own arguments do not get past the parser of Delta's extension.
        """
        return filled(self.query, self.parameters, lambda text: f"CAST(X'{text.encode().hex()}' AS STRING)")

    @property
    def is_published(self) -> bool:
        """Whether the rows are also outside the lake."""
        return self.export is not None or self.is_in_redis

    @property
    def row_key(self) -> tuple[str, ...]:
        """The columns that identify a row: the surrogate key in a table of row versions, otherwise `key`."""
        return self.key if self.versions_of is None else (surrogate(self.key[0]),)

    @property
    def has_members(self) -> bool:
        """Whether the unknown member and inferred members are added to the rows of the query."""
        return self.kind == "dimension" and (self.versions_of is None or self.scd == 2)

    @property
    def concerned_by(self) -> tuple[Dependency, ...]:
        """All dependencies through which a Silver row can affect rows of this table."""
        return (*self.depends_on, *self.inferring)

    @property
    def inferring(self) -> tuple[Dependency, ...]:
        """The dependencies on Silver columns that refer to this dimension, from which members are inferred."""
        return tuple(Dependency(table=table, columns=((name, self.key[0]),)) for table, name in self.inferred_from)

    @property
    def mapped(self) -> tuple[str, ...]:
        """The key columns that select the affected rows; empty if every changed Silver row affects all rows."""
        return next((tuple(name for _, name in each.columns) for each in self.concerned_by if each.columns), ())

    @property
    def tables(self) -> list[str]:
        """The names of the Silver tables that the table is built from, sorted."""
        return sorted({dependency.table for dependency in self.concerned_by})


def surrogate(key: str) -> str:
    """Return the name of the surrogate-key column for a key column: `customer_sk` for `customer_id`."""
    return f"{key.removesuffix('_id')}_sk"


def added_columns(plan: GoldPlan) -> list[tuple[str, str, str]]:
    """Return name, type and meaning of the version columns that are added to the columns of the query."""
    found = [
        (surrogate(link.key), "bigint", f"The version in {link.dimension} valid at the time of the fact; -1: unknown.")
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
    """Return the name of the table that has the row versions of a dimension of SCD type 4."""
    return f"{name}_history"
