"""Compare the lake with its source: Bronze with the change topics, Gold with SQL on the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from batch.storage.paths import Lake
from streams.topics import topic_under
from tests.support.kafka import read_topics
from tests.support.lake.oracle import ORACLE
from tests.support.lake.testbed import LakeTestbed

NAMES: Final = {
    "I1": "every change of the topics is in Bronze",
    "I2": "none is there twice",
    "I7": "Gold = SQL in the source database",
    "readers": "readers see whole runs only",
    "commits": "a table holds every commit that was answered",
    "errors": "a run that fails names why in a line",
    "fault": "what the fault itself expects",
}

Rows = Sequence[tuple[Any, ...]]


@dataclass
class LakeJudgement:
    """Faults by invariant, empty if it holds; and the two counts that summarise them."""

    lost: int = 0
    twice: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in NAMES})

    def add(self, name: str, *faults: str) -> None:
        """Add faults found in an invariant."""
        self.faults[name] += faults

    def compare(self, name_of_lost: str, name_of_twice: str, what: str, found: Rows, expected: Rows) -> None:
        """Compare rows with the expected ones, including how often each occurs."""
        ours, theirs = Counter(found), Counter(expected)
        lost, twice = theirs - ours, ours - theirs
        self.lost += lost.total()
        self.twice += twice.total()
        self.add(name_of_lost, *(f"{what}: {row} is missing" for row in lost))
        self.add(name_of_twice, *(f"{what}: {row} is extra" for row in twice))

    @property
    def broken(self) -> list[str]:
        """The invariants that do not hold."""
        return [name for name, faults in self.faults.items() if faults]


def judge_lake(testbed: LakeTestbed, lake: Lake, judgement: LakeJudgement) -> None:
    """Check I1, I2 and I7 of a lake with no run in progress and a shop without changes."""
    names = [table.name for table in testbed.definition.tables]
    origins = [  # what a repair has landed comes from no topic
        f"SELECT _origin FROM delta.`{lake.table('bronze', name)}` "  # noqa: S608
        f"WHERE startswith(_origin, '{_topic(testbed, name)}/')"
        for name in names
    ]
    answers = testbed.gold_of([*origins, *(gold for gold, _ in ORACLE.values())])
    for name, rows in zip(names, answers, strict=False):
        judgement.compare("I1", "I2", f"bronze/{name}", rows, _delivered(testbed, name))
    for (name, (_, source)), rows in zip(ORACLE.items(), answers[len(names) :], strict=True):
        judgement.compare("I7", "I7", f"gold/{name}", rows, testbed.rows(source))


def _delivered(testbed: LakeTestbed, table: str) -> list[tuple[str]]:
    """List the topic offsets of every change of a table, without tombstones."""
    topic = _topic(testbed, table)
    records = read_topics(testbed.environment["KAFKA_BOOTSTRAP"], topic)
    return [(f"{topic}/{each.partition}/{each.offset}",) for each in records if each.value is not None]


def _topic(testbed: LakeTestbed, table: str) -> str:
    return topic_under(testbed.definition.topic_prefix, table)


def fingerprint_query() -> str:
    """Build one query over all of Gold whose rows differ if those of any table differ."""
    parts = [
        f"SELECT '{name}' AS name, count(*) AS rows, bit_xor(xxhash64(*)) AS hash FROM ({gold})"  # noqa: S608
        for name, (gold, _) in ORACLE.items()
    ]
    return " UNION ALL ".join(parts)
