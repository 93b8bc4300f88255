"""Goal: rows are brought in by hand, and a person is taken out for good, by the commands, on the real servers.

Method: the shop's lake of changes. After an erasure every object of the buckets is looked through by a reader that
shares nothing with the lake.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from minio import Minio

from config.settings import ObjectStoreSettings, RedisSettings
from streams.adapters.redis import RedisConsole, Script
from tests.lake.traces import traces
from tests.support.lake.shop_statements import line, new_id, order
from tests.support.lake.testbed import LakeTestbed

EQUAL = 0
PERSON, FIRST, SECOND = 700_700, "byron@first.example", "byron@second.example"
OURS = new_id()
SET = Script("return redis.call('SET', ARGV[1], 'x')")


@pytest.fixture(scope="module")
def filled(testbed: LakeTestbed) -> LakeTestbed:
    """A person with an order, in all layers, who has had two e-mail addresses."""
    insert = "INSERT INTO customers VALUES (%s, 'Ada Byron', %s, '+44 1815', 'gold', NOW(6), NOW(6))"
    testbed.change((insert, [PERSON, FIRST]), order(OURS, customer_id=PERSON), line(OURS))
    testbed.change(("UPDATE customers SET email = %s WHERE id = %s", [SECOND, PERSON]))
    testbed.until_archived()
    testbed.batch("run", "--wait")
    return testbed


def objects(testbed: LakeTestbed) -> dict[str, bytes]:
    """Every object of the lake."""
    settings = ObjectStoreSettings.read(testbed.environment)
    address = urlsplit(settings.endpoint).netloc
    store = Minio(address, access_key=settings.access_key, secret_key=settings.secret_key, secure=False)
    found = {}
    for bucket in ("bronze", "silver", "gold"):
        for each in store.list_objects(bucket, recursive=True):
            with store.get_object(bucket, str(each.object_name)) as answer:
                found[f"{bucket}/{each.object_name}"] = answer.read()
    return found


def member(testbed: LakeTestbed) -> list[tuple[object, ...]]:
    return testbed.gold("SELECT name, email, is_inferred FROM dim_customer WHERE customer_id = ?", PERSON)


@pytest.mark.nightly  # test_backfill backfills such rows on every push
def test_a_row_that_nobody_logged_is_backfilled(filled: LakeTestbed) -> None:
    ids = [new_id() for _ in range(2)]
    filled.change_unlogged(*(order(id_, at=f"2025-07-0{day} 10:00:00") for day, id_ in enumerate(ids, 1)))
    window = ["backfill", "--table", "orders", "--since", "2025-07-02T10:00", "--until", "2025-07-02T10:01"]
    filled.batch(*window, "--wait")
    assert filled.gold("SELECT order_id FROM fact_orders WHERE order_id IN (?, ?)", *ids) == [(ids[1],)]
    filled.change_unlogged(*(("DELETE FROM orders WHERE id = %s", [id_]) for id_ in ids))
    filled.batch("backfill", "--table", "orders", "--key", ids[1], "--wait")
    assert filled.gold("SELECT order_id FROM fact_orders WHERE order_id IN (?, ?)", *ids) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["backfill", "--table", "order_details", "--since", "2025-01-01"], "order_details: "),
        (["backfill", "--table", "orders"], "--since"),
        (["erase", "--customer", "somebody"], "'somebody'"),
        (["erase", "--customer", str(PERSON)], "the source still has rows of this customer"),
    ],
)
def test_a_mistake_is_named_in_one_line(filled: LakeTestbed, arguments: list[str], told: str) -> None:
    answer = filled.batch(*arguments, code=1)
    assert told in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_person_is_gone_from_every_object(filled: LakeTestbed) -> None:
    texts = ("Ada Byron", FIRST, SECOND, "+44 1815")
    filled.change(("DELETE FROM customers WHERE id = %s", [PERSON]))
    filled.until_archived()
    assert {*texts} <= {text for found in traces(objects(filled), texts).values() for text in found}
    redis = RedisConsole(RedisSettings.read(filled.environment).url, database=0)
    with redis:
        redis.call(SET, f"customer:{PERSON}".encode())
        looked = filled.batch("erase", "--customer", str(PERSON), "--dry-run").out
        assert {"bronze/customers", "silver/customers", "gold/dim_customer", "archive"} <= {*looked.split()}
        answer = filled.batch("erase", "--customer", str(PERSON), "--wait")
        assert redis.get(f"customer:{PERSON}") is None
    assert traces(objects(filled), texts) == {}
    assert "mysql.project_db.customers" in answer.out
    assert "retention.ms=-1" in answer.out
    report = json.loads(objects(filled)[answer.out.rpartition("report: s3a://")[2].strip()])
    assert report["is_verified"]
    assert str(PERSON) not in json.dumps(report)
    assert member(filled) == [(None, None, True)]


def test_the_lake_goes_on_and_a_repetition_finds_nothing(filled: LakeTestbed) -> None:
    filled.batch("run", "--wait")  # which takes in what is no person's
    assert "nothing new: no table was written" in filled.batch("run", "--wait").out
    filled.batch("reconcile", "--table", "dim_customer", code=EQUAL)
    assert "no data of this person found" in filled.batch("erase", "--customer", str(PERSON), "--wait").out
