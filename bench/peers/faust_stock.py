"""Stream peer that uses unmodified Faust: two agents, one RocksDB table, and settings tuned for throughput."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import faust
from faust.transport.producer import ProducerBuffer

from bench.peers.job import FirstEvent, arguments, complete_order, fold


def application(given: argparse.Namespace) -> faust.App:
    """Build the Faust application from the command-line arguments."""
    # By default, Faust's producer delays the stream in steps of 0.1 s when it has more than 100 unsent messages.
    ProducerBuffer.max_messages = 10_000
    app = faust.App(
        given.group,
        broker=f"kafka://{given.bootstrap}",
        store="rocksdb://?driver=rocksdict",
        datadir=given.state,
        processing_guarantee=given.mode,
        broker_commit_interval=1.0,
        broker_session_timeout=10.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        topic_partitions=given.partitions,
        topic_replication_factor=1,
        table_standby_replicas=0,
        stream_wait_empty=False,
        producer_linger=0.005,
        producer_max_batch_size=256 * 1024,
        producer_compression_type="lz4",
        cython_optimizations=True,
        web_enabled=False,
    )
    _declare(app, given)
    return app


def _declare(app: faust.App, given: argparse.Namespace) -> None:
    options: dict[str, Any] = {"key_type": str, "key_serializer": "raw", "value_serializer": "json"}
    orders, details = app.topic(given.orders, **options), app.topic(given.details, **options)
    output = app.topic(given.output, partitions=given.partitions, **options)
    table = app.Table("order-state", partitions=given.partitions, key_type=str)
    first = FirstEvent(given.mark)

    async def settle(order_id: str, row: dict[str, Any]) -> None:
        state, is_due = fold(table.get(order_id), row)
        if is_due:
            await output.send(key=order_id, value=complete_order(order_id, state))
        # Store the state only after sending, so that a crash in between repeats the output instead of losing it. In the
        # meantime, the other agent cannot emit the order too, because it emits nothing for an order that is complete.
        table[order_id] = state

    @app.agent(orders, name="order")
    async def on_order(events: Any) -> None:
        async for event in events:
            first.note()
            if event and event["after"]:
                await settle(event["after"]["id"], event["after"])

    @app.agent(details, name="order_details")
    async def on_details(events: Any) -> None:
        async for event in events:
            first.note()
            if event and event["after"]:
                await settle(event["after"]["order_id"], event["after"])


if __name__ == "__main__":
    app = application(arguments())
    sys.argv = ["faust", "worker", "--loglevel", "warn", "--without-web"]
    app.main()
