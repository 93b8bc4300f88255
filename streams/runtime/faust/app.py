"""A Faust application that processes records in transactional micro-batches, called turns."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import logging
import math
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import mode
from aiokafka.errors import KafkaError
from faust.types import TopicT
from faust.types._env import DATADIR
from yarl import URL

from config.kafka_security import aiokafka_client
from streams.model.change import ChangeDecoder
from streams.runtime.faust.broker_limits import BeyondLimitsError, Wanted, check_limits
from streams.runtime.faust.fetched import DEFAULT_MAX_BATCH_BYTES, FetchRules, use_lean_records
from streams.runtime.faust.log_limit import limit_repetitions
from streams.runtime.faust.preflight import TopicsMismatchError, check_pipeline
from streams.runtime.faust.router import BoundedRouter, client_session
from streams.runtime.faust.schema import BatchSchema
from streams.runtime.faust.supervisor import PartitionSupervisor
from streams.runtime.faust.table import TransactionalTable
from streams.runtime.faust.table_manager import TransactionalTableManager, kafka_rounds, kafka_transactions
from streams.runtime.faust.transport import BatchTransport
from streams.runtime.faust.web_server import WITHOUT_FAUST_PAGES, BoundedWeb
from streams.runtime.faust.worker import WorkerApp
from streams.runtime.kafka_connection import reason
from streams.runtime.pace import Pace
from streams.runtime.partition.committer import Committer
from streams.runtime.partition.gate import Gate
from streams.runtime.partition.origins import OriginRule
from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.processor import Processor
from streams.runtime.state.codec import StateCodec
from streams.runtime.stats import RuntimeStats

_FAUST_DEFAULT_DATADIR: Final = "{conf.name}-data"

NO_POLL_LIMIT_S: Final = 7 * 86_400.0
"""Time without a poll after which aiokafka leaves the consumer group for good. It is very long, as a worker without
partitions never polls, and a large state takes long to restore. Only heartbeats show whether a worker is alive."""

GC_THRESHOLD: Final = 50_000
"""Number of new container objects that triggers a garbage collection. About ten micro-batches create this many."""

FETCH_BYTES: Final = 1024 * 1024
"""Maximum number of bytes per topic partition in one fetch. A single record that is larger is still fetched."""

POLL_RECORDS: Final = 2_000
"""Maximum number of records per poll. This limits memory use, because queue sizes are only checked between polls."""

_ALWAYS: Final[dict[str, Any]] = {
    "processing_guarantee": "exactly_once",
    "consumer_auto_offset_reset": "earliest",
    "consumer_max_fetch_size": FETCH_BYTES,
    "broker_max_poll_interval": NO_POLL_LIMIT_S,
    "stream_wait_empty": False,
    "topic_disable_leader": True,
}
"""Faust's options that do not depend on the application's settings."""


class TransactionalApp(WorkerApp):
    """A `faust.App` that processes records in turns (micro-batches), each of which is one transaction.

    Declare source topics with `batch_topic` or `raw_topic`, and the state with `transactional_table`; then combine them
    with `pipeline`. The docstring of `streams.runtime` describes how the data flows.

    Args:
        bootstrap: Kafka brokers as `host:port`, separated by commas.
        state_dir: parent folder of the workers' data folders, which are named after the application and the worker's
            web port; not used if `--datadir` is given.
        batch_max_records: maximum number of records in one turn.
        waiting_max_bytes: size of a partition's waiting batches at which polling of the partition pauses.
        record_batch_max_bytes: maximum size of a fetched record batch after decompression; a larger one is left out,
            and becomes a single malformed record.
        transaction_timeout_ms: time after which Kafka aborts an unfinished transaction.
        shared_transactions: whether several partitions of a worker commit in one transaction.
        output_compression: compression of the records that are written, as Kafka names it; None for none.
        standby_replicas: number of other workers that keep a copy of each partition's state.
        web_token: token that requests to the web views must bring; None if they need none.
        web_peers: addresses of workers of other applications, which the page `/` shows.
        changelog_delete_retention_s: how many seconds compaction of the changelogs keeps tombstones.
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
        record_batch_max_bytes: int = DEFAULT_MAX_BATCH_BYTES,
        output_compression: str | None = "zstd",
        shared_transactions: bool = False,
        standby_replicas: int = 0,
        changelog_delete_retention_s: float = 86_400.0,
        web_token: str | None = None,
        web_peers: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self.bootstrap = bootstrap
        self.batch_max_records, self.waiting_max_bytes = batch_max_records, waiting_max_bytes
        self.transaction_timeout_ms, self.shared_transactions = transaction_timeout_ms, shared_transactions
        self.output_compression, self.record_batch_max_bytes = output_compression, record_batch_max_bytes
        self.changelog_delete_retention_s = changelog_delete_retention_s
        self.web_token, self.web_peers = web_token, web_peers
        self.stats, self.pages = RuntimeStats(), Pace()
        self.pipelines: list[Pipeline] = []
        self.decoders: dict[str, ChangeDecoder] = {}
        super().__init__(
            app_id,
            broker=[URL(f"kafka://{server}") for server in bootstrap.split(",")],
            TableManager=TransactionalTableManager,
            Router=BoundedRouter,
            HttpClient=client_session,
            **WITHOUT_FAUST_PAGES,
            **_ALWAYS,
            broker_max_poll_records=min(POLL_RECORDS, batch_max_records),
            datadir=_data_folder(state_dir),
            table_standby_replicas=standby_replicas,
            **options,
        )

    # -- declaration --------------------------------------------------------------------------------------------------

    def batch_topic(self, name: str, decoder: ChangeDecoder) -> TopicT:
        """Declare a source topic whose records are decoded; agents iterate over batches of changes."""
        self.decoders[name] = decoder
        return self.topic(name, schema=BatchSchema(decoder))

    def raw_topic(self, name: str) -> TopicT:
        """Declare a source topic whose records are not decoded; agents iterate over batches of raw records."""
        return self.topic(name, schema=BatchSchema())

    def transactional_table(
        self, name: str, *, codec: StateCodec[Any], memory_bytes: int, partitions: int, help: str
    ) -> TransactionalTable:
        """Declare a table that keeps the state of a pipeline; its stores in this worker share `memory_bytes`."""
        table = TransactionalTable(
            self, name=name, codec=codec, memory_bytes=memory_bytes, partitions=partitions, help=help
        )
        return cast(TransactionalTable, self.tables.add(table))

    def pipeline(
        self,
        name: str,
        *,
        sources: Sequence[TopicT],
        processor: Processor,
        state: TransactionalTable | None = None,
        outputs: Sequence[str] = (),
        new_committer: Callable[[int], Committer] | None = None,
        origin_rule: OriginRule | None = None,
    ) -> Pipeline:
        """Declare a pipeline of source topics, a table for their state, and output topics; all must be co-partitioned.

        `new_committer` creates the committer for a partition number; by default, a partition commits in Kafka
        transactions, and few partitions do so at a time. With `origin_rule`, a partition stops before changes of an
        unknown origin.
        """
        topics = tuple(topic.get_topic_name() for topic in sources)
        rounds = None
        if new_committer is None:
            rounds = kafka_rounds(self, name)
            new_committer = kafka_transactions(self, name, topics, rounds)
        pipeline = Pipeline(
            name=name,
            sources=topics,
            outputs=tuple(outputs),
            table=state,
            processor=processor,
            new_committer=new_committer,
            origin_rule=origin_rule,
            gate=Gate(math.inf),
            rounds=rounds,
        )
        self.pipelines.append(pipeline)
        return pipeline

    def start_with(self, *services: object) -> None:
        """Start services with the worker, and stop them after its partitions. Objects of other types are ignored."""
        for service in services:
            if isinstance(service, mode.Service):
                self.service(service)  # type: ignore[arg-type]  # Faust takes an instance as well as a class

    # -- used by the runtime ------------------------------------------------------------------------------------------

    @property
    def partition_supervisor(self) -> PartitionSupervisor:
        """The service that opens and closes this worker's partitions."""
        return cast(TransactionalTableManager, self.tables).recovery

    @property
    def partition_owner(self) -> PartitionSupervisor:
        """The partition supervisor, which the rebalance callbacks use to close the partitions."""
        return self.partition_supervisor

    @property
    def kafka_client(self) -> dict[str, Any]:
        """Connection settings for the Kafka clients that the runtime opens in addition to Faust's consumer."""
        return {
            **aiokafka_client(self.bootstrap),
            "client_id": self.conf.broker_client_id,
            "request_timeout_ms": int(self.conf.broker_request_timeout * 1000),
        }

    # -- Faust's hooks ------------------------------------------------------------------------------------------------

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)

    def _new_web(self) -> Any:
        return BoundedWeb(self)

    async def on_first_start(self) -> None:
        """Check the topics and lock the data folder before the worker joins its consumer group."""
        logging.getLogger("aiokafka").setLevel(logging.WARNING)  # aiokafka logs every connection
        limit_repetitions("aiokafka")  # and, in an outage, every retry
        _relax_garbage_collection()
        use_lean_records(FetchRules(self.record_batch_max_bytes, self.stats.count))
        _allow_open_files()
        await self._check_topics()
        self._take_data_folder()
        await super().on_first_start()

    def _take_data_folder(self) -> None:
        """Create the data folder, accessible only to its owner, and lock it until this process ends."""
        folder = Path(self.conf.datadir)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._data_folder_lock = (folder / "worker.lock").open("w")
        try:
            fcntl.flock(self._data_folder_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(
                f"cannot start: data folder {folder} is in use by another worker; "
                "start each worker with a different --web-port or --datadir"
            ) from None

    async def _check_topics(self) -> None:
        try:
            for pipeline in self.pipelines:
                await check_pipeline(self.kafka_client, pipeline, self.decoders)
            await check_limits(self.kafka_client, self._asked_of_brokers())
        except BeyondLimitsError as error:
            raise SystemExit(f"cannot start because settings are beyond the limits of Kafka:\n{error}") from None
        except TopicsMismatchError as error:
            raise SystemExit(f"cannot start because topics are missing or wrong:\n{error}") from None
        except KafkaError as error:
            why = await reason(self.bootstrap, error)
            raise SystemExit(f"cannot start because Kafka at {self.bootstrap} does not answer: {why}") from None

    def _asked_of_brokers(self) -> Wanted:
        return Wanted(
            session_timeout_ms=int(self.conf.broker_session_timeout * 1000),
            transaction_timeout_ms=self.transaction_timeout_ms,
        )


def _relax_garbage_collection() -> None:
    """Collect garbage less often, because a micro-batch creates thousands of objects but no reference cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)


def _allow_open_files() -> None:
    """Raise the limit of open files to what the system allows: a store has about a dozen, and each producer a socket.

    The usual soft limit of 1,024 is meant for programs that use `select`, and is too low for some 80 partitions.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems report a limit that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _data_folder(state_dir: Path) -> str:
    """Return the data folder: `--datadir` if given, else a separate folder for each application and web port."""
    if str(DATADIR) != _FAUST_DEFAULT_DATADIR:
        return str(DATADIR)
    return str(state_dir).replace("{", "{{").replace("}", "}}") + "/{conf.id}-{conf.web_port}"
