"""Stream peer that uses Quix Streams: one stateful function over both co-partitioned topics, with state in RocksDB."""

from __future__ import annotations

import argparse
from typing import Any

from bench.peers.job import FirstEvent, arguments, complete_order, fold

COMMIT_INTERVAL_S = 1.0
# Large enough for all fetched messages; with the default of 10,000, the consumer would keep pausing partitions.
BUFFERED_MESSAGES = 1_000_000


def application(given: argparse.Namespace) -> Any:
    """Build the Quix application from the command-line arguments."""
    from quixstreams import Application
    from quixstreams.models.serializers.exceptions import SerializationError

    def is_bad_record(error: Exception, *_: Any) -> bool:
        return isinstance(error, SerializationError | KeyError | TypeError)

    return Application(
        broker_address=given.bootstrap,
        consumer_group=given.group,
        processing_guarantee=given.mode.replace("_", "-"),
        commit_interval=COMMIT_INTERVAL_S,
        max_partition_buffer_size=BUFFERED_MESSAGES,
        auto_offset_reset="earliest",
        state_dir=given.state,
        loglevel="WARNING",
        # The benchmark has no bad records, but the faults do; without these, each of them would end the process.
        on_consumer_error=is_bad_record,
        on_processing_error=is_bad_record,
        consumer_extra_config={"session.timeout.ms": 10_000},
        producer_extra_config={"linger.ms": 20, "compression.type": "lz4"},
    )


def run(given: argparse.Namespace) -> None:
    """Join orders with their product lines until the process is stopped."""
    from quixstreams.models import TopicConfig

    app = application(given)
    orders = app.topic(given.orders, key_deserializer="str", value_deserializer="json")
    details = app.topic(given.details, key_deserializer="str", value_deserializer="json")
    config = TopicConfig(num_partitions=given.partitions, replication_factor=1)
    output = app.topic(given.output, key_serializer="str", value_serializer="json", config=config)
    first = FirstEvent(given.mark)

    def join(event: Any, state: Any) -> Any:
        first.note()
        row = event and event.get("after")
        if not row:
            return None
        order, is_due = fold(state.get("order"), row)
        state.set("order", order)
        return complete_order(row["id"] if "id" in row else row["order_id"], order) if is_due else None

    stream = app.dataframe(orders).concat(app.dataframe(details)).apply(join, stateful=True)
    stream.filter(lambda order: order is not None).to_topic(output)
    app.run()


if __name__ == "__main__":
    run(arguments())
