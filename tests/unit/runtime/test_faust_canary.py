"""Goal: a new version of Faust or aiokafka that moves what the runtime builds on fails here, with a name.

The runtime overrides or uses private names; each is listed with what is relied on. Behaviour is tested on real servers
in `tests/streams`; this only tells at once, and without them, that Faust has changed.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import aiohttp.web
import aiohttp.web_protocol
import aiokafka
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import AddPartitionsToTxnHandler, BaseHandler, Sender, SendProduceReqHandler
from aiokafka.producer.transaction_manager import TransactionManager as TxnManager
from aiokafka.record.memory_records import _MemoryRecordsPy
from faust.app import App
from faust.app.router import Router
from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer, TransactionManager
from faust.transport.drivers import aiokafka as driver
from faust.types import _env
from faust.web.drivers import aiohttp as web_driver


def source(thing: Any) -> str:
    return inspect.getsource(thing)


def test_the_versions_are_those_the_runtime_was_written_against() -> None:
    assert version("faust-streaming") == "0.15.3"
    assert version("aiokafka") == "0.14.0"


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (driver.Consumer, "_drain_messages"),  # replaced: the loop that polls and hands over
        (driver.Consumer, "_getmany"),  # used: one poll of some partitions
        (driver.Consumer, "ack"),  # replaced: no gap tree
        (driver.Consumer, "_new_consumer_thread"),  # replaced: a thread of the runtime's own class
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),  # extended: shorter fetches
        (driver.Consumer, "commit"),  # replaced: nothing is committed outside a turn
        (driver.AIOKafkaConsumerThread, "_ensure_consumer"),  # used: the client of the consumer's thread
        (driver.AIOKafkaConsumerThread, "call_thread"),  # used: run a coroutine in that thread
        (driver.Consumer, "verify_event_path"),  # narrowed: partitions that are polled, once they had time
        (TransactionManager, "on_partitions_revoked"),  # replaced: turns end, partitions close
        (TransactionManager, "on_rebalance"),  # replaced: nothing long in the callback
        (TableManager, "_update_channels"),  # used: subscribes to changelogs, so that the router knows them
        (TableManager, "recovery"),  # replaced: the supervisor
        (App, "_new_transport"),  # replaced
        (Router, "_route_req"),  # replaced: passes on no body, few headers, and only to members
        (App, "_new_web"),  # replaced: a server with limits
        (web_driver.Web, "_new_transport_tcp"),  # replaced: a listener with a limit of connections
        (App, "_maybe_close_http_client"),  # relied on: the router's connections end with the worker
        (aiohttp.web.Server, "connections"),  # used: the number of open connections
        (App, "on_first_start"),  # extended
        (App, "on_rebalance_end"),  # called by the supervisor, as Faust's recovery does
        (driver.Consumer, "wait_first"),  # used: hand over unless the flow is suspended
        (driver.Consumer, "consumer_stopped_errors"),  # used: what a stopped client raises
        (Sender, "_maybe_do_transactional_request"),  # extended: two requests at once; the task is kept
        (Sender, "_do_add_offsets_to_txn"),  # used: beside the one for the partitions
        (TxnManager, "partitions_to_add"),  # used: whether the sender would send the one request
        (TxnManager, "consumer_group_to_add"),  # used: or the other
        (TxnManager, "add_offsets_to_txn"),  # used: without waiting, as `send_offsets_to_transaction` does
        (Sender, "_send_produce_req"),  # extended: the task is kept, to be cancelled
        (Sender, "_do_add_partitions_to_txn"),  # replaced: a handler with a growing pause
        (Sender, "_find_coordinator"),  # used
        (Sender, "close"),  # replaced: cancels instead of waiting
        (AddPartitionsToTxnHandler, "handle_response"),  # extended: its pause is not fixed
        (PartitionRecords, "_unpack_records"),  # replaced: no record can break it, and objects have fewer fields
        (PartitionRecords, "_consume_aborted_up_to"),  # used: the transactions that were aborted
        (PartitionRecords, "_contains_abort_marker"),  # used: the end of an aborted transaction
        (_MemoryRecordsPy, "_cache_next"),  # relied on: the next batch stays in `_next_slice`
        (Fetcher, "fetched_records"),  # relied on: nothing is returned of partitions that were not asked for
    ],
)
def test_a_name_the_runtime_builds_on_is_still_there(owner: type, name: str) -> None:
    assert hasattr(owner, name)


def test_the_consumer_still_keeps_what_the_loop_uses() -> None:
    text = source(Consumer)
    for name in (
        "_read_offset",
        "_committed_offset",
        "_unacked_messages",
        "flow_active",
        "can_resume_flow",
        "suspend_flow",
    ):
        assert f"self.{name}" in text, name


def test_the_producer_still_keeps_what_is_on_its_way_in_the_same_places() -> None:
    assert "self._in_flight = set()" in source(Sender.__init__)
    assert "self._in_flight.remove(node_id)" in source(Sender._send_produce_req)
    assert "self._batches = " in source(MessageAccumulator.__init__)


def test_a_rebalance_still_revokes_before_it_assigns_and_recovery_comes_last() -> None:
    revoked = source(App._on_partitions_revoked)
    assert "consumer.transactions.on_partitions_revoked" in revoked
    assigned = source(App._on_partitions_assigned)
    assert assigned.index("consumer.transactions.on_rebalance") < assigned.index("self.tables.on_rebalance")


def test_the_worker_consumer_still_reads_committed_records_only() -> None:
    text = source(driver.AIOKafkaConsumerThread._create_worker_consumer)
    assert 'isolation_level = "read_committed"' in text
    assert "enable_auto_commit=False" in text


def test_the_default_data_folder_is_still_told_from_a_chosen_one() -> None:
    from streams.runtime.faust import app

    assert app._FAUST_DEFAULT_DATADIR in source(_env)


def test_the_web_server_still_keeps_what_is_replaced_under_the_same_names() -> None:
    assert "self._runner: AppRunner = AppRunner(self.web_app" in source(web_driver.Web.__init__)
    text = source(aiohttp.web.TCPSite.start)
    for name in ("self._runner.server", "self._server", "self._host", "self._port", "ssl=self._ssl_context"):
        assert name in text, name


def test_the_time_to_send_a_request_still_begins_with_the_connection() -> None:
    assert "self._process_keepalive" in source(aiohttp.web_protocol.RequestHandler.connection_made)


def test_a_prepared_batch_still_answers_with_its_first_offset() -> None:
    text = source(aiokafka.producer.message_accumulator.MessageBatch.done)
    assert "base_offset" in text
    assert "self.future.set_result" in text


def test_the_client_keeps_how_long_a_fetch_is_held_until_it_starts() -> None:
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in source(aiokafka.AIOKafkaConsumer.start)


def test_the_fetcher_still_makes_its_records_by_the_name_that_is_replaced() -> None:
    assert "PartitionRecords(" in source(Fetcher)
    assert "MemoryRecords(part_data" in source(Fetcher)
    assert "self._records_iterator = self._unpack_records()" in source(PartitionRecords)
    assert "self._next_slice" in source(_MemoryRecordsPy.next_batch)


def test_the_stall_alarm_still_asks_for_every_assigned_partition_by_the_clock_of_commits() -> None:
    assert "self.verify_event_path(now, tp)" in source(Consumer.verify_all_partitions_active)
    assert "now = monotonic()" in source(Consumer.verify_all_partitions_active)
    assert "self.tp_last_committed_at.get(tp)" in source(driver.AIOKafkaConsumerThread.verify_event_path)


def test_the_producer_still_makes_its_sender_and_lets_it_be_replaced() -> None:
    text = source(aiokafka.AIOKafkaProducer)
    for name in ("_sender = Sender(", "_txn_manager", "_message_accumulator", "_request_timeout_ms"):
        assert f"self.{name}" in text, name


def test_a_client_still_takes_metadata_by_the_method_that_is_replaced() -> None:
    assert "self.cluster.update_metadata(metadata)" in source(AIOKafkaClient.bootstrap)
    assert "cluster_metadata.update_metadata(metadata)" in source(AIOKafkaClient._metadata_update)
    assert "for topic_data in metadata.topics:" in source(ClusterMetadata.update_metadata)
    assert "partition, leader, replicas, isr, *_ in partitions" in source(ClusterMetadata.update_metadata)


def test_the_sender_still_sends_through_its_client_and_pauses_by_the_name_that_is_replaced() -> None:
    assert "self._sender.client.send(" in source(BaseHandler.do)
    assert "self._default_backoff = sender._retry_backoff" in source(BaseHandler.__init__)
    assert "self._client = sender.client" in source(SendProduceReqHandler.__init__)
    assert "self.client.force_metadata_update()" in source(Sender._sender_routine)


def test_a_request_without_a_connection_is_still_told_from_one_without_an_answer() -> None:
    text = source(AIOKafkaClient.send)
    assert text.index("raise NodeNotReadyError") < text.index(".send(\n")


def test_a_connection_still_has_the_transport_that_is_aborted() -> None:
    assert "self._reader, self._writer, self._protocol = reader, writer, protocol" in source(AIOKafkaConnection.connect)
    assert "self._conns[conn_id] = await create_conn(" in source(AIOKafkaClient._get_conn)
