"""Goal: whatever a server says of its tables, each is taken or left out with a reason, and what is written loads.

Method: tables drawn at random, with awkward names, comments and types, go the whole way to a file and back. The real
server is in `tests/streams/ops/test_foreign_dataset.py`.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batch.bronze import table as bronze_rows
from batch.silver.versions import META
from config.dataset import load_definition_file
from config.definition import LogicalType
from config.engines import ENGINES
from ops.dataset.foreign.command import login, parse_address
from ops.dataset.foreign.dialect import POSTGRES
from ops.dataset.foreign.draft import LAKE_COLUMNS, LAKE_PREFIXES, NO_KEY, chosen_cursor, drafts
from ops.dataset.foreign.read import ForeignColumn, ForeignTable
from ops.dataset.foreign.text import definition_text, schema_text
from stack.errors import StackError

good_names = ["id", "on", "no", "null", "true", "_1", "e5", "Id", "y", "updated_at", "x" * 64]
names = st.sampled_from([*good_names, *good_names, *good_names, "a b", "größe", "x" * 65, "day", "1st"])
names |= st.from_regex(r"[A-Za-z_]{1,8}", fullmatch=True) | st.text(min_size=1, max_size=12)
comments = st.text(max_size=30) | st.sampled_from(
    ["# no", "a: b", "- x", "'", '"', "\\", "{}", "\n- name: x", "\x85", "…"]
)
good_types = [
    "int(11)",
    "int(10) unsigned",
    "bigint(20) unsigned",
    "tinyint(1)",
    "varchar(20)",
    "enum('a','b')",
    "longtext",
    "decimal(10,2)",
    "bit(1)",
    "timestamp",
    "datetime(6)",
    "uuid",
]
types = st.sampled_from([*good_types, *good_types, *good_types, "decimal(65,30)", "double", "bit(8)", "blob", "time"])


@st.composite
def columns(draw: st.DrawFn) -> ForeignColumn:
    kind = draw(types)
    digits = [int(part) for part in kind.partition("(")[2].partition(")")[0].split(",") if part.isdigit()]
    data_type = kind.partition("(")[0]
    return ForeignColumn(
        name=draw(names),
        data_type=data_type,
        column_type=kind,
        is_nullable=draw(st.booleans()),
        length=20 if data_type in ("varchar", "enum") else None,
        precision=digits[0] if digits else None,
        scale=digits[1] if len(digits) > 1 else 0,
        is_set_on_update=draw(st.booleans()),
        is_indexed=draw(st.booleans()),
        comment=draw(comments),
    )


@st.composite
def tables(draw: st.DrawFn) -> list[ForeignTable]:
    found = []
    table_names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    for name in table_names:
        own = draw(st.lists(columns(), min_size=1, max_size=5, unique_by=lambda column: column.name.lower()))
        fit = [column.name for column in own if not column.is_nullable]
        table = ForeignTable(
            name=name,
            kind=draw(st.sampled_from(["BASE TABLE", "BASE TABLE", "VIEW"])),
            columns=tuple(own),
            key=tuple(draw(st.lists(st.sampled_from(fit), unique=True, max_size=3)) if fit else ()),
            references=tuple(draw(st.lists(st.sampled_from(table_names), unique=True))),
            comment=draw(comments),
            create_statement="CREATE TABLE …",
        )
        found.append(table)
    return found


@given(found=tables(), is_utc=st.booleans())
def test_every_table_is_taken_or_left_out_with_a_reason_and_the_file_loads(
    found: list[ForeignTable], is_utc: bool
) -> None:
    drafted = drafts(found, is_utc=is_utc)
    assert sorted(draft.name for draft in drafted) == sorted(table.name for table in found)
    assert all((draft.table is None) == bool(draft.reasons) for draft in drafted)
    taken = [draft.table for draft in drafted if draft.table is not None]
    if not taken:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "definition.yaml")
        path.write_text(definition_text("mine", "shop", drafted), "utf-8")
        definition = load_definition_file(path)
    assert list(definition.tables) == taken
    assert schema_text(found).count("CREATE TABLE IF NOT EXISTS") == len(found)


def column(name: str, kind: str = "timestamp", **more: Any) -> ForeignColumn:
    return ForeignColumn(name=name, data_type=kind, column_type=kind, **{"is_nullable": False, **more})


def table(*own: ForeignColumn, name: str = "t", **more: Any) -> ForeignTable:
    return ForeignTable(name=name, kind="BASE TABLE", columns=(column("id", "int"), *own), key=("id",), **more)


@pytest.mark.parametrize(
    ("own", "cursor"),
    [
        ([column("created_at", is_indexed=True)], None),
        ([column("updated_at")], "updated_at"),
        ([column("updated_at", is_nullable=True)], None),
        ([column("updated_at", "int")], None),
        ([column("updated_at", is_indexed=True), column("seen", is_set_on_update=True)], "seen"),
        ([column("updated_at"), column("modified", is_indexed=True)], "modified"),
        ([column("updated_at"), column("last_update")], "updated_at"),
        ([column("seen", is_set_on_update=True, is_nullable=True), column("date_modified")], "date_modified"),
        ([column("updated_at", "datetime"), column("last_change")], "last_change"),
    ],
)
def test_the_cursor_is_chosen_by_the_stated_rules(own: list[ForeignColumn], cursor: str | None) -> None:
    chosen, remarks = chosen_cursor(table(*own), is_utc=False)
    assert chosen == cursor
    times = {each.name for each in own if each.data_type != "int"}
    assert all(any(name in remark for remark in remarks) for name in times)


def test_a_circle_of_references_takes_no_table_away() -> None:
    found = [table(name="a", references=("b",)), table(name="b", references=("c", "a")), table(name="c")]
    order = [draft.name for draft in drafts(found, is_utc=True)]
    assert sorted(order) == ["a", "b", "c"]
    assert order.index("c") < order.index("b")


def test_of_two_names_that_differ_in_capitals_only_the_second_is_left_out() -> None:
    first, second = drafts([table(name="Orders"), table(name="orders")], is_utc=True)
    assert first.table is not None
    assert second.table is None
    assert len(second.reasons) == 1


def test_the_lakes_own_columns_are_known() -> None:
    own = {*bronze_rows.PARTITIONS, *bronze_rows._META, *META}
    assert own | {*bronze_rows.OF_THE_CHANGE_FEED, *bronze_rows._UNDER_WAY} == LAKE_COLUMNS
    assert bronze_rows._PREFIXES == LAKE_PREFIXES


def test_a_url_is_taken_apart() -> None:
    address = parse_address("mariadb://read%40er@[::1]/shop")
    assert (address.host, address.port, address.user, address.database) == ("::1", 3306, "read@er", "shop")
    assert parse_address("mysql://db:1/shop").user is None


@pytest.mark.parametrize("url", ["mysql://a:secret-word@db/shop", "mysql://a:secret-word@db:x/shop", "secret-word"])
def test_no_message_repeats_a_password(url: str) -> None:
    with pytest.raises(StackError) as caught:
        parse_address(url)
    assert "secret-word" not in str(caught.value)


def test_a_table_with_a_blob_is_taken_without_it() -> None:
    [draft] = drafts([table(column("image", "blob"), column("name", "text"), column("year", "int"))], is_utc=True)
    assert draft.table is not None
    assert draft.table.column_names == ("id", "name")
    assert [name for name, _ in draft.without] == ["image", "year"]
    assert "without image: type blob is not supported" in draft.remarks
    text = yaml.safe_load(definition_text("mine", "shop", [draft]))
    excluded = text["connector"]["column.exclude.list"].split(",")
    assert all(re.fullmatch(each, f"shop.t.{name}") for each, name in zip(excluded, ("image", "year"), strict=True))


def test_a_table_without_a_key_gets_a_reason_with_a_way_out() -> None:
    keyless = ForeignTable(name="t", kind="BASE TABLE", columns=(column("id", "int"),))
    [draft] = drafts([keyless], is_utc=True)
    assert draft.reasons == (NO_KEY,)
    assert "add one to the table" in NO_KEY


def test_only_where_the_log_is_silent_a_foreign_key_with_an_action_is_warned_of() -> None:
    child = table(name="child", cascades=("parent",))
    [silent] = drafts([child], is_utc=True)
    [logged] = drafts([child], is_utc=True, dialect=POSTGRES)
    assert ("parent" in silent.warnings[0], logged.warnings) == (True, ())


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (column("x", "int4"), {"type": "integer"}),
        (column("x", "numeric", precision=12, scale=2), {"type": "decimal", "precision": 12, "scale": 2}),
        (column("x", "numeric"), {"type": "decimal", "precision": 38, "scale": 10}),
        (column("x", "numeric", precision=50, scale=2), None),
        (column("x", "bpchar", length=5), {"type": "string", "length": 5}),
        (column("x", "varchar"), {"type": "string"}),
        (column("x", "enum"), {"type": "string"}),
        (column("x", "timestamptz"), {"type": "timestamp"}),
        (column("x", "time"), {"type": "time"}),
        (column("x", "interval"), {"type": "interval"}),
        (column("x", "bytea"), {"type": "binary"}),
        (column("x", "_int4"), {"type": "array"}),
        *((column("x", kind), None) for kind in ("timetz", "_numeric", "tsvector", "point", "bit", "int4range")),
    ],
)
def test_types_of_postgres_have_their_counterparts(own: ForeignColumn, expected: dict[str, Any] | None) -> None:
    assert POSTGRES.typed(own) == expected
    engine = ENGINES["postgres"]
    if expected is not None:
        assert own.data_type in engine.kinds[LogicalType(expected["type"])], "the lake would refuse what is drafted"


def test_a_partitioned_table_is_for_the_feed_jdbc_only_and_a_partition_for_none() -> None:
    own = ForeignTable(name="t", kind="BASE TABLE", columns=(column("id", "int4"),), key=("id",))
    whole = dataclasses.replace(own, kind="PARTITIONED TABLE")
    assert drafts([whole], is_utc=True, dialect=POSTGRES)[0].table is not None
    [refused] = drafts([whole], is_utc=True, dialect=POSTGRES, feed="changes")
    assert "--feed jdbc" in refused.reasons[0]
    [part] = drafts([dataclasses.replace(own, kind="PARTITION")], is_utc=True, dialect=POSTGRES)
    assert part.reasons == ("is a partition, not a table",)


def test_a_url_of_postgres_has_its_own_port_and_login() -> None:
    address = parse_address("postgresql://reader@db/shop")
    assert (address.engine.name, address.port) == ("postgres", 5432)
    settings = login(address, {"PGPASSWORD": "word", "PGHOST": "other", "PGUSER": "other"})
    assert (settings.host, settings.port, settings.user) == ("db", 5432, "reader")
