"""Read all records after load and workers have ended, and compare them with the database."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from rocksdict import AccessType, Options, Rdict

from ops.dataset.check import check
from streams.runtime.state.changelog import CONTROL_BYTE
from streams.topics import DEAD_LETTERS, ORDER_AMENDED, ORDER_FINAL, order_state_changelog
from tables import order_state
from tests.faults import invariants
from tests.faults.invariants import ShopRows
from tests.faults.scenario import Scenario
from tests.faults.testbed import OUTPUTS
from tests.support.kafka import Record, ends, places, read_topics

MISSING_LIMIT_S: Final = 10.0
HANGING_LIMIT_S: Final = 30.0
"""Kafka looks every 10 s for transactions that are over their time, which is 10 s."""

EXAMPLES: Final = 5
NAMES: Final = {
    "I1": "nothing missing",
    "I2": "nothing twice",
    "I3": "no position or revision goes back",
    "I4": "store = changelog = database",
    "I5": "first progress and lag 0 in time",
    "I6": "dead letters = bad records",
    "I8": "no transaction hangs",
    "truth": "newest record = database",
    "fault": "what the fault itself expects",
}


@dataclass
class Judgement:
    """Faults by invariant, empty if it holds; and the two counts that summarise them."""

    lost: int = 0
    twice: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in NAMES})

    def add(self, name: str, faults: list[str]) -> None:
        """Add the faults found in an invariant."""
        self.faults[name] += faults

    @property
    def broken(self) -> list[str]:
        """The invariants that do not hold."""
        return [name for name, faults in self.faults.items() if faults]


def judge(scenario: Scenario) -> Judgement:
    """Check every invariant except I5, which was measured while the workers were running."""
    judgement, bootstrap = Judgement(), scenario.testbed.kafka.bootstrap
    verdict = check(
        scenario.testbed.database, scenario.testbed.kafka, scenario.testbed.definition, timeout_s=MISSING_LIMIT_S
    )
    judgement.lost, judgement.twice = len(verdict.missing), verdict.duplicates
    judgement.add("I1", verdict.missing + ([] if verdict.complete else ["no order was complete"]))
    judgement.add("I2", verdict.repeated + verdict.malformed)
    changelog = order_state_changelog(scenario.testbed.app_id())
    by_topic: dict[str, list[Record]] = defaultdict(list)
    for record in read_topics(bootstrap, changelog, ORDER_FINAL, ORDER_AMENDED, DEAD_LETTERS):
        by_topic[record.topic].append(record)
    rows = scenario.shop.rows()
    amended = [msgspec.json.decode(record.value or b"null") for record in by_topic[ORDER_AMENDED]]
    history = [record for record in by_topic[changelog] if not (record.key or b"").startswith(CONTROL_BYTE)]
    judgement.add("I3", _regressions(history))
    judgement.add("I3", invariants.revision_faults((value["order_id"], value["revision"]) for value in amended))
    stores = _stores(scenario.pool.folders, scenario.testbed.app_id())
    judgement.add("I4", _state_faults(history, stores, rows))
    judgement.add("I6", invariants.dead_letter_faults(scenario.shop.injected, by_topic[DEAD_LETTERS]))
    judgement.add("I8", _hanging(bootstrap, changelog, *OUTPUTS))
    final = [msgspec.json.decode(record.value or b"null") for record in by_topic[ORDER_FINAL]]
    newest = {value["order_id"]: value for value in sorted(amended, key=lambda value: value["revision"])}
    judgement.add("truth", invariants.truth_faults({value["order_id"]: value for value in final}, newest, rows))
    judgement.add("fault", scenario.broken)
    scenario.notes |= {
        "complete_orders": verdict.complete,
        "amended": len(amended),
        "changelog_records": len(history),
        "stores": len(stores),
    }
    return judgement


def _regressions(history: list[Record]) -> list[str]:
    decode = order_state.CODEC.decode
    pairs = ((record.key or b"", None if record.value is None else decode(record.value)) for record in history)
    return invariants.position_regressions(pairs)


def _state_faults(history: list[Record], stores: list[Path], rows: ShopRows) -> list[str]:
    """Every store equals the changelog up to its own offset, the newest of each partition up to the end."""
    by_partition: dict[int, list[Record]] = defaultdict(list)
    for record in history:
        by_partition[record.partition].append(record)
    newest: dict[int, int] = {}
    faults = []
    for path in stores:
        number = int(path.name)
        content, offset = read_store(path)
        newest[number] = max(newest.get(number, -1), offset)
        expected = invariants.replayed(by_partition[number], up_to=offset)
        faults += invariants.content_differences(f"store {path} at {offset}", content, expected)
    for number, records in by_partition.items():
        if newest.get(number, -1) < records[-1].offset:
            faults.append(f"partition {number}: newest store at {newest.get(number)}, log ends at {records[-1].offset}")
    decode = order_state.CODEC.decode
    states = {key.decode(): decode(value) for key, value in invariants.replayed(history).items()}
    return faults + invariants.database_differences(states, rows)


def _stores(folders: set[Path], app_id: str) -> list[Path]:
    found = [path for folder in folders for path in folder.glob(f"state/{app_id}-*/**/{order_state.NAME}/*")]
    return [path for path in found if path.name.isdecimal()]


def read_store(path: Path) -> tuple[Mapping[bytes, bytes], int]:
    """Content of a closed store, and the changelog offset it stands at (-1: none)."""
    options = Options(raw_mode=True)
    families = {name: Options(raw_mode=True) for name in Rdict.list_cf(str(path), options) if name != "default"}
    store = Rdict(str(path), options=options, column_families=families, access_type=AccessType.read_only())
    try:
        content: Any = dict(store.items())
        offset: Any = store.get_column_family("meta").get(b"changelog_offset")
        return content, -1 if offset is None else int(offset)
    finally:
        store.close()


def _hanging(bootstrap: str, *topics: str) -> list[str]:
    deadline = time.monotonic() + HANGING_LIMIT_S
    of = places(bootstrap, *topics)
    while True:
        written, stable = (ends(bootstrap, of, committed_only=committed) for committed in (False, True))
        hanging = [place for place in of if stable[place] != written[place]]
        if not hanging or time.monotonic() > deadline:
            return [f"{topic}/{number}: an open transaction since {stable[topic, number]}" for topic, number in hanging]
        time.sleep(0.5)
