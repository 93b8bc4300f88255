"""A slot that does not fit what Connect has published is refused: the connector would leave a gap without a word."""

from __future__ import annotations

import pytest

from ops.connector.settings import slot_epoch, slot_name
from ops.connector.slots import Slot, committed_place, lsn_text, slot_faults

SLOT = Slot(
    name="millrace_shop",
    reader=None,
    kept_from=900,
    confirmed=1_000,
    wal_status="reserved",
    lag_bytes=10,
    kept_bytes=110,
)


def changed(**fields: object) -> Slot:
    return Slot(**{name: getattr(SLOT, name) for name in SLOT.__struct_fields__} | fields)


def faults(slot: Slot | None, committed: int | None, *, has_records: bool = True, is_ours: bool = False) -> list[str]:
    return list(slot_faults(slot, committed, has_records=has_records, is_ours=is_ours))


@pytest.mark.parametrize(
    ("slot", "committed", "has_records"),
    [
        (None, None, False),
        (SLOT, 1_000, True),
        (SLOT, 1_001, True),
        (SLOT, None, False),
        (changed(wal_status="unreserved"), 1_000, True),
    ],
    ids=["the first start", "at the place", "before the place", "an interrupted first snapshot", "log still there"],
)
def test_a_connector_that_goes_on_without_a_gap_may_start(
    slot: Slot | None, committed: int | None, has_records: bool
) -> None:
    assert faults(slot, committed, has_records=has_records) == []


@pytest.mark.parametrize(
    ("slot", "committed", "remedy"),
    [
        (None, 1_000, "epoch begin"),
        (None, None, "epoch begin"),
        (SLOT, 999, "epoch begin"),
        (SLOT, None, "epoch begin"),
        (changed(wal_status="lost"), 1_000, "epoch begin"),
        (changed(reader=4711), 1_000, "process 4711"),
    ],
    ids=["no slot", "no slot, no place", "beyond the place", "no place", "log gone", "read by another"],
)
def test_a_connector_that_would_leave_a_gap_is_refused(slot: Slot | None, committed: int | None, remedy: str) -> None:
    (fault,) = faults(slot, committed)
    assert remedy in fault


def test_while_our_own_task_reads_the_slot_its_place_runs_ahead() -> None:
    assert faults(changed(reader=4711), 999, is_ours=True) == []


def test_the_place_is_that_of_the_connectors_own_epoch() -> None:
    offsets = [
        {"partition": {"server": "shop"}, "offset": {"lsn": 7}},
        {"partition": {"server": "shop.e1"}, "offset": {"lsn": 9, "lsn_commit": 8}},
    ]
    assert (committed_place(offsets, "shop"), committed_place(offsets, "shop.e1")) == (7, 9)
    assert committed_place(offsets, "shop.e2") is None


def test_places_are_shown_as_postgres_shows_them() -> None:
    assert lsn_text(0x1590_0BF0) == "0/15900BF0"
    assert lsn_text((3 << 32) + 10) == "3/A"


def test_a_slot_belongs_to_an_epoch_of_one_dataset() -> None:
    assert [slot_epoch(slot_name("shop", epoch), "shop") for epoch in (0, 1, 30)] == [0, 1, 30]
    others = (
        "millrace_shop2",
        "millrace_shop_e0",
        "millrace_shop_e01",
        "millrace_shop_e1_e2",
        "shop",
        "millrace_shop_e",
    )
    assert {slot_epoch(name, "shop") for name in others} == {None}
