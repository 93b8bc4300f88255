"""Goal: what is published cannot change unnoticed, and a version stays readable for those who were written for it.

Method: the files against the record types; then structs that differ from each other in one thing.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct, defstruct

from ops.schemas import FOLDER, schema_faults, write_schemas
from stack.errors import StackError
from streams.schemas import contracts
from streams.schemas.contracts import PUBLISHED, breaks, file_name, schema_of
from streams.topics import ORDER_FINAL


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Struct):
    """A part."""

    size: int


class Other(Struct):
    """Another part."""

    width: int


FIELDS: dict[str, Any] = {
    "id": str,
    "count": Annotated[int, Meta(ge=1, le=9)],
    "note": str | None,
    "colour": Colour,
    "inner": Inner | None,
    "parts": Annotated[list[Inner], Meta(min_length=1)],
}
AT_LEAST_0, ALSO_GREEN = Annotated[int, Meta(ge=0, le=9)], StrEnum("Colour", {"RED": "red", "GREEN": "green"})


def schema(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> dict[str, Any]:
    """The schema of a struct with these fields."""
    struct = defstruct("Order", list(fields.items()), namespace={"__doc__": "An order."})
    monkeypatch.setattr(contracts, "PUBLISHED", {ORDER_FINAL: (struct, 1)})
    return schema_of(ORDER_FINAL)


def changed(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> list[str]:
    """Why a consumer of FIELDS may not understand the same with other fields; None takes one away."""
    after = {name: kind for name, kind in (FIELDS | fields).items() if kind is not None}
    return breaks(schema(monkeypatch, FIELDS), schema(monkeypatch, after))


def test_the_files_are_what_is_encoded() -> None:
    assert schema_faults(FOLDER) == []


def test_no_other_file_lies_beside_them() -> None:
    expected = {file_name(topic, n) for topic, (_, last) in PUBLISHED.items() for n in range(1, last + 1)}
    assert {path.name for path in FOLDER.glob("*.json")} == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"added": int},
        {"note": str},
        {"count": Annotated[int, Meta(ge=2, le=8)]},
        {"inner": Inner},
        {"colour": StrEnum("Colour", {"RED": "red"})},
        {"id": Annotated[str, Meta(description="Better words.")]},
    ],
    ids=["a field more", "never null any more", "narrower", "a part always there", "a word less", "described"],
)
def test_within_a_version_fields_are_added_and_values_become_narrower(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    assert changed(monkeypatch, **fields) == []


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"id": None}, "id: was removed"),
        ({"id": int}, "id: was string, is now integer"),
        ({"id": str | None}, "id: may now be null"),
        ({"count": float}, "count: was integer, is now number"),
        ({"count": AT_LEAST_0}, "count: minimum was 1, is now 0"),
        ({"count": Annotated[int, Meta(ge=1)]}, "count: maximum was 9, is now removed"),
        ({"colour": ALSO_GREEN}, "colour: has the new values ['green']"),
        ({"inner": Other | None}, "inner: may now be Other"),
        ({"parts": list[Inner]}, "parts: minItems was 1, is now removed"),
        ({"parts": Annotated[list[Other], Meta(min_length=1)]}, "parts[].size: was removed"),
    ],
)
def test_whatever_a_consumer_may_not_understand_needs_a_new_version(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], fault: str
) -> None:
    assert changed(monkeypatch, **fields) == [fault]


def test_a_pattern_that_is_taken_back_needs_a_new_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = schema(monkeypatch, {"at": Annotated[str, Meta(pattern="Z$")]})
    assert breaks(before, schema(monkeypatch, {"at": str})) == ["at: pattern was 'Z$', is now removed"]


def test_an_added_field_is_written_and_a_change_that_breaks_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ops.schemas as files

    def encode(fields: dict[str, Any], version: int) -> None:
        struct = defstruct("Order", list(fields.items()), namespace={"__doc__": "An order."})
        for module in (contracts, files):
            monkeypatch.setattr(module, "PUBLISHED", {ORDER_FINAL: (struct, version)})

    encode(FIELDS, 1)
    assert schema_faults(tmp_path) == ["order_final.v1.json: is missing"]
    assert [path.name for path in write_schemas(tmp_path)] == ["order_final.v1.json"]
    assert write_schemas(tmp_path) == []
    encode(FIELDS | {"added": int}, 1)
    stale = "order_final.v1.json: differs from the record type: run `millrace schemas write`"
    assert schema_faults(tmp_path) == [stale]
    write_schemas(tmp_path)
    first = (tmp_path / "order_final.v1.json").read_text()
    encode(FIELDS, 1)
    assert schema_faults(tmp_path) == ["order_final.v1.json: added: was removed", stale]
    with pytest.raises(StackError, match=r"added: was removed\nincompatible changes need a new version"):
        write_schemas(tmp_path)
    assert (tmp_path / "order_final.v1.json").read_text() == first
    encode(FIELDS, 2)
    assert [path.name for path in write_schemas(tmp_path)] == ["order_final.v2.json"]
    assert schema_faults(tmp_path) == []
    (tmp_path / "order_final.v1.json").unlink()
    assert schema_faults(tmp_path) == ["order_final.v1.json: is missing"]
