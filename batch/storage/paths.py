"""Where everything in the lake is: pure functions from names to URIs.

{bronze}/changes/{topic}/{partition:05d}/{first offset:020d}.parquet    the raw changes, as they came
{bronze}/{prefix/}{table}                                               Delta, append-only
{silver}/{prefix/}{table}                                               Delta, one row per key
{silver}/{prefix/}audit/quarantine                                      Delta, the rows that were refused
{gold}/{prefix/}dimensions/{name}, {gold}/{prefix/}facts/{name}         Delta
{gold}/{prefix/}audit/runs/{run id}.json                                what a run did, written last
{gold}/{prefix/}audit/erasures/{run id}.json                            what an erasure found and left
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Lake:
    """The places of one dataset; the roots are URIs without a slash at their end, the prefix may be empty."""

    bronze: str
    silver: str
    gold: str
    prefix: str = ""

    def table(self, layer: str, name: str) -> str:
        """A source table in the layer `bronze` or `silver`."""
        assert layer in ("bronze", "silver"), layer
        return self._at(self.bronze if layer == "bronze" else self.silver, name)

    def quarantine(self) -> str:
        """The rows that were refused, of all tables."""
        return self._at(self.silver, "audit/quarantine")

    def dimension(self, name: str) -> str:
        """A dimension of Gold."""
        return self._at(self.gold, f"dimensions/{name}")

    def fact(self, name: str) -> str:
        """A fact table of Gold."""
        return self._at(self.gold, f"facts/{name}")

    def runs(self) -> str:
        """The folder of the runs' manifests."""
        return self._at(self.gold, "audit/runs")

    def erasures(self) -> str:
        """The folder of the reports of erasures."""
        return self._at(self.gold, "audit/erasures")

    def changes(self, topic: str) -> str:
        """The folder of a topic's raw changes; a topic's name tells its dataset, so there is no prefix."""
        return f"{self.bronze}/changes/{topic}"

    def _at(self, root: str, name: str) -> str:
        return "/".join(part for part in (root, self.prefix, name) if part)
