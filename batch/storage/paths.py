"""The paths of the lake's tables and objects, computed from their names.

{bronze}/changes/{topic}/{partition:05d}/{first offset:020d}.parquet    the raw changes, unmodified
{bronze}/{prefix/}{table}                                               Delta, append-only
{silver}/{prefix/}{table}                                               Delta, one row per key
{silver}/{prefix/}audit/quarantine                                      Delta, the quarantined rows of all tables
{gold}/{prefix/}dimensions/{name}, {gold}/{prefix/}facts/{name}         Delta
{gold}/{prefix/}audit/runs/{run id}.json                                the manifest of a run, written last
{gold}/{prefix/}audit/erasures/{run id}.json                            the report of an erasure
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Lake:
    """The paths of one dataset's tables and objects.

    Attributes:
        bronze, silver, gold: root URI of each layer, without a trailing slash.
        prefix: folder of the dataset below each root; may be empty.
    """

    bronze: str
    silver: str
    gold: str
    prefix: str = ""

    def table(self, layer: str, name: str) -> str:
        """Return the path at which the layer `bronze` or `silver` stores a source table."""
        assert layer in ("bronze", "silver"), layer
        return self._at(self.bronze if layer == "bronze" else self.silver, name)

    def quarantine(self) -> str:
        """Return the path of the quarantine, a single table with the quarantined rows of all tables."""
        return self._at(self.silver, "audit/quarantine")

    def dimension(self, name: str) -> str:
        """Return the path of a dimension table in Gold."""
        return self._at(self.gold, f"dimensions/{name}")

    def fact(self, name: str) -> str:
        """Return the path of a fact table in Gold."""
        return self._at(self.gold, f"facts/{name}")

    def runs(self) -> str:
        """Return the folder that contains the manifests of all runs."""
        return self._at(self.gold, "audit/runs")

    def erasures(self) -> str:
        """Return the folder that contains the erasure reports."""
        return self._at(self.gold, "audit/erasures")

    def changes(self, topic: str) -> str:
        """Return the folder of a topic's raw changes; it needs no prefix, as the topic's name includes the dataset."""
        return f"{self.bronze}/changes/{topic}"

    def _at(self, root: str, name: str) -> str:
        return "/".join(part for part in (root, self.prefix, name) if part)
