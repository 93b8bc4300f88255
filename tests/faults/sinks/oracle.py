"""The oracle of the sinks, in SQL: what the warehouse has to have at each moment, and the figures at the end.

The test keeps every record that it wrote, with its place in Kafka, and looks at the warehouse all the while: at the
offsets and, in the same statement, at the rows. Once all is over, both go into tables, and SQL says where a moment's
rows were not those that follow from the records before its offsets, by position.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

_TABLES: Final = """
    DROP SCHEMA IF EXISTS oracle CASCADE;
    CREATE SCHEMA oracle;
    CREATE TABLE oracle.history (partition int, place bigint, id bigint, tier text, deleted boolean, position text
        COLLATE "C", at_ms bigint);
    CREATE TABLE oracle.moments (n bigint PRIMARY KEY, offsets jsonb, rows jsonb);
    CREATE TABLE oracle.orders (kind text, minute text, pieces int);
    CREATE TABLE oracle.counted (name text, number bigint);
"""
LOOK: Final = """
    SELECT
        (SELECT jsonb_object_agg(partition, coalesce(next, 0)) FROM stream_offsets WHERE topic LIKE '%.customers'),
        (SELECT jsonb_object_agg(customer_id, jsonb_build_array(tier, is_deleted,
            (extract(epoch FROM first_seen_at) * 1000)::bigint, (extract(epoch FROM last_seen_at) * 1000)::bigint))
            FROM dim_customers)
"""
"""One statement sees one moment of the warehouse."""

_WRONG: Final = """
    WITH expected AS (
        SELECT m.n, h.id, jsonb_build_array((array_agg(h.tier ORDER BY h.position DESC))[1],
            (array_agg(h.deleted ORDER BY h.position DESC))[1], min(h.at_ms), max(h.at_ms)) AS row
        FROM oracle.moments AS m CROSS JOIN jsonb_each_text(m.offsets) AS o(partition, next)
            JOIN oracle.history AS h ON h.partition = o.partition::int AND h.place < o.next::bigint
        GROUP BY m.n, h.id
    ), found AS (
        SELECT m.n, r.key::bigint AS id, r.value AS row FROM oracle.moments AS m CROSS JOIN jsonb_each(m.rows) AS r
    )
    SELECT n, id, e.row, f.row FROM expected AS e FULL JOIN found AS f USING (n, id)
    WHERE e.row IS DISTINCT FROM f.row ORDER BY n, id
"""
_FIGURES: Final = """
    WITH expected AS (
        SELECT kind AS name, count(*) AS number FROM oracle.orders GROUP BY kind
        UNION ALL
        SELECT minute, sum(CASE kind WHEN 'created' THEN 1 WHEN 'deleted' THEN -1 ELSE 0 END)
        FROM oracle.orders GROUP BY minute
    )
    SELECT name, e.number, c.number FROM expected AS e FULL JOIN oracle.counted AS c USING (name)
    WHERE coalesce(e.number, 0) <> coalesce(c.number, 0)
"""


class Written(NamedTuple):
    """A record of a customer: its place in Kafka, and the version of the row."""

    partition: int
    place: int
    id: int
    tier: str
    is_deleted: bool
    position: str
    at_ms: int


class Moment(NamedTuple):
    """What the warehouse had at a moment."""

    offsets: Mapping[str, int]
    rows: Mapping[str, Any]


class Wrong(NamedTuple):
    """A row that did not follow from the offsets; the content is None where there is no row."""

    moment: int
    id: int
    expected: Any
    found: Any


def wrong_rows(
    connection: psycopg.Connection[Any], history: Iterable[Written], moments: Iterable[Moment]
) -> list[Wrong]:
    """Return the rows that were wrong at any moment; the moments are numbered from 0."""
    connection.execute(_TABLES.encode())
    with connection.cursor() as cursor:
        with cursor.copy("COPY oracle.history FROM STDIN") as copy:
            for each in history:
                copy.write_row(each)
        with cursor.copy("COPY oracle.moments FROM STDIN") as copy:
            copy.set_types(["int8", "jsonb", "jsonb"])
            for number, moment in enumerate(moments):
                copy.write_row((number, *map(Jsonb, moment)))
    return [Wrong(*row) for row in connection.execute(_WRONG.encode())]


def wrong_figures(
    connection: psycopg.Connection[Any], orders: Iterable[tuple[str, str]], counted: Mapping[str, int]
) -> list[tuple[str, int | None, int | None]]:
    """Return the figures that differ, with the expected and the counted number.

    Args:
        orders: what each record of an order did, and the order's minute.
        counted: numbers in Redis by what changes do, and numbers of orders by minute.
    """
    connection.execute(_TABLES.encode())
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO oracle.orders VALUES (%s, %s)", list(orders))
        cursor.executemany("INSERT INTO oracle.counted VALUES (%s, %s)", list(counted.items()))
    return [(name, expected, found) for name, expected, found in connection.execute(_FIGURES.encode())]
