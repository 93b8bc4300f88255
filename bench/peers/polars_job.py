"""Lake peer without Spark, in one process: connectorx reads all tables, and Polars writes all layers as Parquet.

This peer shows what is possible as long as all data fits into memory: it writes the layers, but never reads them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bench.peers.lake_job import KEY_OF, KEYS, PARTITION, TABLES, UNKNOWN, arguments, loaded

if TYPE_CHECKING or find_spec("polars"):  # Polars is installed only in the separate environment of the peers
    import polars as pl

_NAMES = {"month_name": "%B", "day_name": "%A"}
# connectorx does not support microseconds, so times are read as text.
_TIMES = {"customers": ["created_at", "updated_at"], "orders": ["timestamp"]}
_COLUMNS = {
    "customers": ["id", "name", "email", "phone", "tier"],
    "orders": ["id", "customer_id", "store_id", "payment_method_id", "num_products"],
    "order_details": ["order_id", "product_id", "quantity"],
    "payment_method": ["id", "name", "bank"],
}

Frames = dict[str, "pl.DataFrame"]


def read(source: Mapping[str, Any], table: str) -> pl.DataFrame:
    """Read all rows of a source table."""
    times = _TIMES.get(table, [])
    columns = [f"`{name}`" for name in _COLUMNS[table]] + [f"CAST(`{name}` AS CHAR) AS `{name}`" for name in times]
    login = f"{quote(source['user'], safe='')}:{quote(source['password'], safe='')}"
    uri = f"mysql://{login}@{source['host']}:{source['port']}/{source['name']}"
    query = f"SELECT {', '.join(columns)} FROM `{table}`"  # noqa: S608 - constant names
    rows = pl.read_database_uri(query, uri, engine="connectorx")
    return rows.with_columns(pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S%.6f", time_unit="us") for name in times)


def silver_of(bronze: Frames) -> Frames:
    """Build the Silver tables, which keep the newest Bronze row of each key."""
    return {
        name: rows.sort("_ingested_at").unique(KEYS[name], keep="last").drop("_ingested_at")
        for name, rows in bronze.items()
    }


def gold_of(silver: Frames) -> Frames:
    """Build the Gold tables, a star schema."""
    orders, lines = silver["orders"], silver["order_details"]
    day = pl.col("timestamp").dt.strftime("%Y%m%d").cast(pl.Int32).alias(PARTITION)
    facts = orders.select(
        pl.col("id").alias("order_id"), "customer_id", "payment_method_id", "store_id", "num_products",
        pl.col("timestamp").alias("ordered_at"), day,
    )  # fmt: skip
    of_order = ("customer_id", "payment_method_id", PARTITION)
    sold = lines.join(facts.select("order_id", *of_order), on="order_id", how="left")
    return {
        "dim_customer": inferred(silver["customers"], orders, "customer_id"),
        "dim_payment_method": inferred(silver["payment_method"], orders, "payment_method_id"),
        "dim_product": with_unknown(lines.select(pl.col("product_id").unique()), "dim_product"),
        "dim_date": with_unknown(dates(orders), "dim_date"),
        "fact_orders": facts,
        "fact_order_products": sold.with_columns(pl.col(name).fill_null(UNKNOWN) for name in of_order),
    }


def inferred(rows: pl.DataFrame, orders: pl.DataFrame, key: str) -> pl.DataFrame:
    """Build a dimension from its known members, the unknown member, and members inferred from orders."""
    known = rows.rename({"id": key})
    named = orders.select(pl.col(key).unique()).join(known, on=key, how="anti")
    unknown = pl.DataFrame({key: [UNKNOWN]}, schema={key: known.schema[key]})
    marked = [
        frame.with_columns(pl.lit(is_inferred).alias("is_inferred"))
        for frame, is_inferred in ((known, False), (unknown, False), (named, True))
    ]
    return pl.concat(marked, how="diagonal")


def with_unknown(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return a dimension with the unknown member added."""
    key = KEY_OF[name]
    return pl.concat([rows, pl.DataFrame({key: [UNKNOWN]}, schema={key: rows.schema[key]})], how="diagonal")


def dates(orders: pl.DataFrame) -> pl.DataFrame:
    """Build the date dimension, with one row per day from the first order's year to the last order's year."""
    years = orders.select(pl.col("timestamp").dt.year().min().alias("first"), pl.col("timestamp").dt.year().max())
    first, last = years.row(0)
    days = pl.DataFrame({"date": pl.date_range(pl.date(first, 1, 1), pl.date(last, 12, 31), eager=True)})
    date = pl.col("date")
    return days.select(
        date.dt.strftime("%Y%m%d").cast(pl.Int32).alias("date_id"),
        date,
        date.dt.year().alias("year"),
        date.dt.quarter().cast(pl.Int32).alias("quarter"),
        date.dt.month().cast(pl.Int32).alias("month"),
        date.dt.week().cast(pl.Int32).alias("week"),
        date.dt.day().cast(pl.Int32).alias("day"),
        date.dt.weekday().cast(pl.Int32).alias("day_of_week"),
        (date.dt.weekday() >= 6).alias("is_weekend"),
        *(date.dt.strftime(text).alias(name) for name, text in _NAMES.items()),
    )


def run(job: Mapping[str, Any]) -> None:
    """Read the source tables, then build and write Bronze, Silver and Gold."""
    store = job["store"]
    options = {
        "aws_access_key_id": store["access_key"],
        "aws_secret_access_key": store["secret_key"],
        "aws_endpoint_url": store["endpoint"],
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }

    def write(rows: pl.DataFrame, layer: str, name: str) -> None:
        place = f"s3://{layer}/{job['folder']}/{name}"
        if name.endswith("fact_orders"):
            rows.write_parquet(f"{place}/", partition_by=PARTITION, storage_options=options)
        else:
            rows.write_parquet(f"{place}/part.parquet", storage_options=options)

    now = pl.lit(datetime.now(UTC)).alias("_ingested_at")
    bronze = {name: read(job["database"], name).with_columns(now) for name in TABLES}
    for name, rows in bronze.items():
        write(rows, "bronze", name)
    silver = silver_of(bronze)
    for name, rows in silver.items():
        write(rows, "silver", name)
    for name, rows in gold_of(silver).items():
        write(rows, "gold", f"{'dimensions' if name.startswith('dim_') else 'facts'}/{name}")


if __name__ == "__main__":
    run(loaded(arguments().job))
