"""Goal: values of a definition reach the queries of Gold in their types, and no text becomes SQL.

Method: parameters and queries by hand; the shipped dataset that has parameters, with one of them changed.
"""

from __future__ import annotations

import datetime
from decimal import Decimal

import msgspec
import pytest

from batch.gold.header import parsed
from batch.gold.plan import GoldPlan
from config.contradictions import faults
from config.dataset import load_definition
from config.engines import ENGINES
from config.parameters import Parameter, Value, filled, named_in

SHOP = load_definition("shop")
QUERY = "-- kind: fact\n-- key: id\n-- depends_on: orders(id -> id)\nSELECT id FROM orders WHERE total > :limit"


def parameter(kind: str, value: str) -> Parameter:
    return msgspec.convert({"name": "limit", "type": kind, "value": value, "description": "A limit."}, Parameter)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "-3", -3),
        ("decimal", "1500.00", Decimal("1500.00")),
        ("string", "it's", "it's"),
        ("date", "2025-01-31", datetime.date(2025, 1, 31)),
    ],
)
def test_a_value_has_its_type(kind: str, text: str, value: object) -> None:
    found = parameter(kind, text).typed
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text"),
    [("integer", "1.5"), ("decimal", "much"), ("decimal", "NaN"), ("decimal", "1E9"), ("date", "2025")],
)
def test_a_value_of_another_type_is_refused_with_its_place(kind: str, text: str) -> None:
    broken = msgspec.structs.replace(SHOP, parameters=(parameter(kind, text),))
    assert faults(broken) == [f"parameters[0].value: '{text}' is no value of type {kind}"]


def test_a_parameter_that_is_defined_twice_is_refused() -> None:
    twice = (parameter("integer", "1"), parameter("integer", "2"))
    assert "parameters: 'limit' is defined twice" in faults(msgspec.structs.replace(SHOP, parameters=twice))


def test_only_parameters_are_found_in_a_query() -> None:
    query = "SELECT ':a', x::int, y:z, :limit -- :b\n, \"10:c\" /* :d */ FROM t WHERE n > :limit AND k = :other"
    assert named_in(query) == ["limit", "other"]


def test_the_database_gets_literals_of_typed_values() -> None:
    engine, text = ENGINES["postgres"], "'; DROP TABLE t; --"
    day = datetime.date(2025, 1, 31)
    values: dict[str, Value] = {"n": -3, "money": Decimal("1.50"), "day": day, "text": text}
    found = filled("SELECT :n, :money::numeric, :day, :text, ':n'", values, engine.exact_literal)
    assert found == f"SELECT (-3), (1.50)::numeric, DATE '2025-01-31', {engine.exact_literal(text)}, ':n'"
    assert "DROP" not in found


def test_a_text_cannot_leave_its_literal_in_spark() -> None:
    definition = msgspec.structs.replace(SHOP, parameters=(parameter("string", "' OR 1 = 1 --"),))
    plan = parsed(QUERY, "big_orders", definition)
    assert plan.filled_query.endswith("total > CAST(X'" + b"' OR 1 = 1 --".hex() + "' AS STRING)")


def test_a_query_has_the_parameters_that_it_names_and_is_built_again_if_one_changes() -> None:
    def plan(value: str) -> GoldPlan:
        definition = msgspec.structs.replace(SHOP, parameters=(parameter("decimal", value),))
        return parsed(QUERY, "big_orders", definition)

    assert plan("1.00").filled_query.endswith("total > (1.00)")
    first, second, same = plan("1.00"), plan("2.00"), plan("1.00")
    assert first.parameters == {"limit": Decimal("1.00")}
    assert first == same
    assert first.fingerprint != second.fingerprint


def test_a_parameter_that_the_definition_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="unknown parameter 'limit'"):
        parsed(QUERY, "big_orders", SHOP)
