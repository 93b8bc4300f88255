"""What the demo proves of the warehouse and of the live figures."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_DIFFERENCES = 5


@dataclass(kw_only=True)
class WarehouseProof:
    """The warehouse beside the source.

    Attributes:
        kills: how often its worker was killed.
        rows: numbers of rows of each table, in the source and in the warehouse.
        checksums: checksums of these rows.
        equal: whether the rows are equal, by table.
    """

    kills: int = 0
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    checksums: dict[str, tuple[str, str]] = field(default_factory=dict)
    equal: dict[str, bool] = field(default_factory=dict)

    @property
    def is_equal(self) -> bool:
        """Whether the warehouse has all rows of the source, and no others."""
        return bool(self.equal) and all(self.equal.values())

    def lines(self) -> list[str]:
        """Format the comparison as lines of text: one per table."""
        lines = [
            f"warehouse; its worker was killed (SIGKILL) {self.kills} times: rows and checksums beside the source's"
        ]
        for table, (source, found) in self.rows.items():
            sign = "=" if self.equal[table] else "≠"
            its, own = self.checksums[table]
            lines.append(f"  {table:<24}{source:>10,} {its}  {sign} {found:>10,} {own}")
        return lines


@dataclass(kw_only=True)
class FiguresProof:
    """The live figures beside SQL over the source's history, by the names of the figures.

    Attributes:
        kills: how often their worker was killed.
    """

    kills: int = 0
    expected: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)

    @property
    def is_equal(self) -> bool:
        """Whether all figures are right, and there are some of orders."""
        return self.expected == self.found and self._sum(self.expected, "orders of ") > 0

    def lines(self) -> list[str]:
        """Format the comparison as lines of text, with the first figures that differ."""
        sums = (
            ("changes", "", (" created", " updated", " deleted")),
            ("orders per minute, summed", "orders of ", ()),
            ("revenue per minute in cents, summed", "cents of ", ()),
            ("orders by country, summed", "orders by country", ()),
            ("alerts of high values", "alerts of high values", ()),
        )
        lines = [f"live figures; their worker was killed (SIGKILL) {self.kills} times: SQL over the history, and Redis"]
        for text, prefix, suffixes in sums:
            expected, found = (self._sum(figures, prefix, suffixes) for figures in (self.expected, self.found))
            lines.append(f"  {text:<36}{expected:>14,} {'=' if expected == found else '≠'} {found:>14,}")
        names = sorted(self.expected.keys() | self.found.keys())
        different = [name for name in names if self.expected.get(name) != self.found.get(name)]
        lines += [f"  {name}: {self.expected.get(name, 0):,} ≠ {self.found.get(name, 0):,}" for name in different][
            :MOST_DIFFERENCES
        ]
        return lines

    @staticmethod
    def _sum(figures: dict[str, int], prefix: str, suffixes: tuple[str, ...] = ()) -> int:
        return sum(
            number
            for name, number in figures.items()
            if name.startswith(prefix) and (not suffixes or name.endswith(suffixes))
        )
