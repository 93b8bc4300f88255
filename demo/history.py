"""The live figures as SQL over the source's history, which triggers keep for the demo, and as Redis has them.

The history is in a schema of its own, which the connector does not capture. So the two have nothing in common but the
source: one is counted by the database in the transactions themselves, the other by the worker, from Kafka.
"""

from __future__ import annotations

import json
from typing import Any, Final

from config.definition import Definition
from config.definition_metrics import OrderFigures
from config.engines.base import Connection
from streams.adapters.redis import RedisConsole, Script

DATABASE: Final = 3
"""The database in Redis that has the figures."""

Figures = dict[str, int]
"""Figures by name, such as `orders created` or `revenue in cents, 202601020304`."""

_BEGIN: Final = """
    CREATE SCHEMA demo;
    CREATE TABLE demo.history (name text NOT NULL, kind text NOT NULL, old jsonb, new jsonb);
    CREATE FUNCTION demo.record() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO demo.history VALUES (
            TG_TABLE_NAME,
            TG_OP,
            CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
            CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
        );
        RETURN NULL;
    END $$;
"""
_RECORD: Final = """
    CREATE TRIGGER demo AFTER INSERT OR UPDATE OR DELETE ON {0} FOR EACH ROW EXECUTE FUNCTION demo.record();
"""
_KINDS: Final = "SELECT name, kind, count(*) FROM demo.history GROUP BY name, kind"
_ORDERS: Final = """
    WITH changes AS (
        SELECT to_char((coalesce(new, old) ->> %s)::timestamptz AT TIME ZONE 'UTC', 'YYYYMMDDHH24MI') AS minute,
            coalesce(new, old) ->> %s AS placed_at, (new IS NOT NULL)::int - (old IS NOT NULL)::int AS orders,
            coalesce((old ->> %s)::numeric * 100, 0) AS was, coalesce((new ->> %s)::numeric * 100, 0) AS cents
        FROM demo.history WHERE name = %s
    )
    SELECT minute, sum(orders), sum(cents - was), count(*) FILTER (WHERE orders > 0),
        count(*) FILTER (WHERE was < %s AND cents >= %s)
    FROM changes WHERE placed_at::timestamptz >= now() - interval '1 hour' GROUP BY minute
"""
_NO_THRESHOLD: Final = 1e12
_SUFFIXES: Final = {"INSERT": "created", "UPDATE": "updated", "DELETE": "deleted"}
_READ: Final = Script("""\
-- all figures, as JSON: {stats by table, hashes of orders and of countries by minute, number of alerts}
local found = {stats = {}, orders = {}, countries = {}, high = redis.call('XLEN', 'alerts:high_value')}
local places = {stats = 'cdc:stats:', orders = 'realtime:metrics:orders:', countries = 'realtime:metrics:countries:'}
for kind, prefix in pairs(places) do
    for _, key in ipairs(redis.call('KEYS', prefix .. '*')) do
        local pairs_ = redis.call('HGETALL', key)
        local values = {}
        for i = 1, #pairs_, 2 do values[pairs_[i]] = tonumber(pairs_[i + 1]) end
        found[kind][string.sub(key, #prefix + 1)] = values
    end
end
return cjson.encode(found)
""")


class History:
    """The history of a dataset's tables, from a moment on."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._rows: dict[str, int] = {}

    def begin(self, connection: Connection) -> None:
        """Record every change from now on; what is in the tables before, the connector's snapshot reads."""
        tables = {table.name: connection.quoted(table.name) for table in self._definition.tables}
        script = _BEGIN + "".join(_RECORD.format(name) for name in tables.values())
        connection.engine.run_script(connection, script)
        for table, name in tables.items():
            self._rows[table] = int(connection.value(f"SELECT count(*) FROM {name}"))  # noqa: S608
        connection.rollback()

    def figures(self, connection: Connection) -> Figures:
        """Return what the figures have to be, by SQL."""
        found = {f"{table} read": rows for table, rows in self._rows.items()}
        for table, kind, count in connection.rows(_KINDS):
            found[f"{table} {_SUFFIXES[kind]}"] = count
        orders = self._definition.metrics.orders
        if orders is not None:
            found |= self._orders(connection, orders)
        connection.rollback()
        return _without_zeros(found)

    def _orders(self, connection: Connection, orders: OrderFigures) -> Figures:
        high = round((self._definition.metrics.alerts.high_value or _NO_THRESHOLD) * 100)
        columns = (orders.placed_at, orders.placed_at, orders.total, orders.total)
        found: Figures = {"orders by country": 0, "alerts of high values": 0}
        for minute, count, cents, placed, alerts in connection.rows(_ORDERS, (*columns, orders.table, high, high)):
            found |= {f"orders of {minute}": int(count), f"cents of {minute}": int(cents)}
            found["orders by country"] += placed
            found["alerts of high values"] += alerts
        return found


def figures_in_redis(url: str, tables: list[str]) -> Figures:
    """Return the figures that the worker has counted, by the same names."""
    with RedisConsole(url, database=DATABASE) as console:
        counted: dict[str, Any] = json.loads(console.call(_READ, b""))
    found: Figures = {"alerts of high values": counted["high"], "orders by country": 0}
    for table, stats in dict(counted["stats"]).items():
        found |= {f"{table} {kind}": number for kind, number in stats.items() if kind != "last_change_ms"}
    for minute, hash_ in dict(counted["orders"]).items():
        found |= {f"orders of {minute}": hash_["orders"], f"cents of {minute}": hash_["revenue_cents"]}
    for countries in dict(counted["countries"]).values():
        found["orders by country"] += sum(countries.values())
    return _without_zeros(found)


def _without_zeros(figures: Figures) -> Figures:
    return {name: int(number) for name, number in figures.items() if number}
