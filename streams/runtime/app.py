"""A Faust application that processes in transactional micro-batches."""

from __future__ import annotations

import fcntl
import gc
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import faust
from aiokafka.errors import KafkaError
from faust.types import TopicT
from faust.types._env import DATADIR
from yarl import URL

from streams.model.change import ChangeDecoder
from streams.runtime.codec import StateCodec
from streams.runtime.committer import Committer
from streams.runtime.flow import Flow
from streams.runtime.preflight import TopicsMismatchError, check_keys, check_partitions
from streams.runtime.schema import BatchSchema
from streams.runtime.stats import RuntimeStats
from streams.runtime.supervisor import BatchTableManager, PartitionSupervisor, kafka_transactions
from streams.runtime.table import BatchTable
from streams.runtime.transport import BatchTransport

_FAUST_DEFAULT_DATADIR: Final = "{conf.name}-data"

NO_POLL_LIMIT_S: Final = 7 * 86_400.0
"""aiokafka leaves the group when it was not polled for so long, and does not come back. A spare worker without
partitions polls nothing, and a large state takes its time to restore: liveness is the heartbeat's affair here."""

GC_THRESHOLD: Final = 50_000
"""New containers between two collections of the youngest generation; about ten turns of a live shop."""

FETCH_BYTES: Final = 4 * 1024 * 1024
"""Most that one fetch takes of one topic partition (a larger single record is taken all the same)."""


class BatchApp(faust.App):
    """`faust.App` with batches for events and a transaction per turn; see `streams/runtime/__init__.py`.

    Declare source topics with `batch_topic`, the state with `batch_table`, then join them with `process`.

    Args:
        bootstrap: Kafka's `host:port`, several separated by commas.
        state_dir: parent of the data folders; a worker's own is named after the application and its web port, unless
            `--datadir` is given.
        batch_max_records: records of one batch, and of one turn.
        waiting_max_bytes: bytes that may wait in one partition before it is polled no more.
        transaction_timeout_ms: after which Kafka aborts the transaction of a worker that fell silent.
        committer_factory: makes a partition's committer; Kafka transactions by default.
    """

    def __init__(
        self,
        app_id: str,
        *,
        bootstrap: str,
        state_dir: Path,
        batch_max_records: int,
        waiting_max_bytes: int,
        transaction_timeout_ms: int,
        committer_factory: Callable[[BatchApp, int], Committer] = kafka_transactions,
        **options: Any,
    ) -> None:
        self.bootstrap = bootstrap
        self.batch_max_records = batch_max_records
        self.waiting_max_bytes = waiting_max_bytes
        self.transaction_timeout_ms = transaction_timeout_ms
        self.committer_factory = committer_factory
        self.stats = RuntimeStats()
        self.source_topics: tuple[str, ...] = ()
        self.output_topics: tuple[str, ...] = ()
        self.decoders: dict[str, ChangeDecoder] = {}
        super().__init__(
            app_id,
            broker=[URL(f"kafka://{server}") for server in bootstrap.split(",")],
            TableManager=BatchTableManager,
            processing_guarantee="exactly_once",
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=FETCH_BYTES,
            broker_max_poll_records=batch_max_records,
            broker_max_poll_interval=NO_POLL_LIMIT_S,
            stream_wait_empty=False,
            topic_disable_leader=True,
            datadir=_data_folder(state_dir),
            table_standby_replicas=0,
            **options,
        )

    # -- declaration --------------------------------------------------------------------------------------------------

    def batch_topic(self, name: str, decoder: ChangeDecoder) -> TopicT:
        """Declare a source topic; its agents iterate batches of decoded changes."""
        self.decoders[name] = decoder
        return self.topic(name, schema=BatchSchema(decoder))

    def batch_table(self, name: str, *, codec: StateCodec[Any], partitions: int, help: str) -> BatchTable:
        """Declare the state table."""
        table = BatchTable(self, name=name, codec=codec, partitions=partitions, help=help)
        return cast(BatchTable, self.tables.add(table))

    def process(self, *, sources: Sequence[TopicT], state: BatchTable, flow: Flow, outputs: Sequence[str]) -> None:
        """Join source topics with the state they are folded into and the topics written; all partitioned alike."""
        self.source_topics = tuple(topic.get_topic_name() for topic in sources)
        self.output_topics = tuple(outputs)
        self.state_table = state
        self.flow = flow

    # -- used by the runtime ------------------------------------------------------------------------------------------

    @property
    def partition_supervisor(self) -> PartitionSupervisor:
        """The partitions of this worker."""
        return cast(BatchTableManager, self.tables).recovery

    @cached_property
    def changelog_topic(self) -> str:
        """Name of the state table's changelog."""
        return self.state_table.changelog_topic.get_topic_name()

    @property
    def kafka_client(self) -> dict[str, Any]:
        """Connection settings of the clients that the runtime opens beside Faust's consumer."""
        return {"bootstrap_servers": self.bootstrap, "client_id": self.conf.broker_client_id}

    # -- Faust's hooks ------------------------------------------------------------------------------------------------

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        """Check what the worker will rely on, before it joins its group."""
        logging.getLogger("aiokafka").setLevel(logging.WARNING)  # its notes on every connection drown the worker's own
        _relax_garbage_collection()
        await self._check_topics()
        self._take_data_folder()
        await super().on_first_start()

    def _take_data_folder(self) -> None:
        """Make the data folder and hold its lock as long as this process lives."""
        folder = Path(self.conf.datadir)
        folder.mkdir(parents=True, exist_ok=True)
        self._data_folder_lock = (folder / "worker.lock").open("w")
        try:
            fcntl.flock(self._data_folder_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(
                f"cannot start, data folder {folder} is in use by another worker: "
                "give each one its own (another --web-port, or --datadir)"
            ) from None

    async def _check_topics(self) -> None:
        count = self.state_table.partitions
        assert count is not None
        try:
            await check_partitions(
                self.kafka_client,
                dict.fromkeys([*self.source_topics, *self.output_topics, self.changelog_topic], count),
            )
            await check_keys(self.kafka_client, self.decoders, count)
        except TopicsMismatchError as error:
            raise SystemExit(f"cannot start, topics do not fit together:\n{error}") from None
        except KafkaError as error:
            raise SystemExit(f"cannot start, Kafka at {self.bootstrap} does not answer: {error}") from None


def _relax_garbage_collection() -> None:
    """A turn makes thousands of small containers without cycles; the default threshold scans them again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)


def _data_folder(state_dir: Path) -> str:
    """What `--datadir` says, else a folder per application and web port: instances on one machine never share one."""
    if str(DATADIR) != _FAUST_DEFAULT_DATADIR:
        return str(DATADIR)
    return str(state_dir).replace("{", "{{").replace("}", "}}") + "/{conf.id}-{conf.web_port}"
