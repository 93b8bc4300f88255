"""The workspace of a command: its dataset, lake and manifests, and a Spark session on request."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from batch import gold
from batch.console.logs import logged
from batch.console.output import Say
from batch.context import RunContext
from batch.errors import BatchError
from batch.pipeline.manifest import Manifest, Manifests, TableRun
from batch.pipeline.raw_records import RawRecords
from batch.pipeline.results import Redis, Results
from batch.pipeline.up_to_date import find_up_to_date
from batch.spark.session import spark_session
from batch.storage.objects import object_folder
from batch.storage.paths import Lake
from config.dataset import load_definition
from config.definition import Definition
from config.lake_names import in_lake
from config.settings import BatchSettings, DatasetSettings, LakeSettings, ObjectStoreSettings, SparkSettings
from streams.topics import topic_under


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The dataset that a command works on, with its lake, settings and manifests."""

    definition: Definition
    lake: Lake
    settings: LakeSettings
    store: ObjectStoreSettings
    manifests: Manifests

    @contextlib.contextmanager
    def spark(self, **more: bool) -> Iterator[SparkSession]:
        """Yield a Spark session, and stop it on exit; `more` is passed to `spark_session`."""
        session = spark_session(SparkSettings.read(), self.store, app=f"millrace {self.definition.name}", **more)
        try:
            yield session
        finally:
            with contextlib.suppress(Py4JError, OSError):  # Java may have ended already, which is reported elsewhere
                session.stop()

    def context(self, spark: SparkSession, run_id: str, started_at: datetime, **more: Any) -> RunContext:
        """Return the context for a run on this lake; `more` sets optional attributes of `RunContext`."""
        return RunContext(
            spark=spark,
            lake=self.lake,
            definition=self.definition,
            run_id=run_id,
            started_at=started_at,
            settings=self.settings,
            **more,
        )

    def find_up_to_date(self, previous: Manifest) -> list[TableRun] | None:
        """Return an unchanged outcome for each table if there is no new input since `previous`, else None."""
        return find_up_to_date(previous, self.definition, self.lake, lambda uri: object_folder(uri, self.store))

    def raw_records(self, say: Say) -> RawRecords | None:
        """Return the files with the raw records of the dataset; None if its definition names no folder for them."""
        if self.definition.raw_records is None:
            return None
        prefix = self.definition.topic_prefix
        return RawRecords(
            topics=[topic_under(prefix, table.source_name) for table in self.definition.tables],
            lake=self.lake,
            place=f"{self.settings.processed}/{self.definition.raw_records}",
            store=self.store,
            say=say,
        )

    def publisher(self, redis: Redis, say: Say) -> Callable[[Manifest], None]:
        """Return a function that publishes, after a run, what other programs read outside the lake's tables.

        It remembers what it has seen, so that a service does not look at all of it again in each cycle. It raises
        BatchError if the object storage cannot be reached, a result has too many rows, or the archive has a gap.
        """
        marks: dict[str, tuple[str, int, str]] = {}
        raw = self.raw_records(say)

        def publish(manifest: Manifest) -> None:
            results = Results(
                plans=gold.plans(self.definition),  # each time, because the files may have changed
                lake=self.lake,
                root=self.settings.processed,
                store=self.store,
                redis=redis,
                say=say,
                marks=marks,
            )
            results.publish(manifest)
            if raw is not None:
                raw.follow()

        return publish

    def is_empty(self) -> bool:
        """Return whether the lake is empty, that is, no run has written a manifest yet."""
        return self.manifests.newest(datetime.now(UTC)) is None

    def newest(self) -> Manifest:
        """Return the newest manifest, which lists the published version of every table.

        Raises:
            BatchError: no run has written a manifest yet.
        """
        manifest = self.manifests.newest(datetime.now(UTC))
        if manifest is None:
            raise BatchError(
                f"no run of {self.definition.name} found at {self.lake.runs()}: run `millrace lake run` first"
            )
        return manifest


def add_dataset_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--dataset`, which selects the dataset."""
    parser.add_argument("--dataset", metavar="NAME", help="dataset (default: the setting DATASET, or project_db)")


@contextlib.contextmanager
def open_workspace(arguments: argparse.Namespace) -> Iterator[Workspace]:
    """Yield the workspace selected by settings and arguments; inside the `with` block, logs are written to files.

    Raises:
        DefinitionError: the dataset is unknown, or its definition is malformed.
        SettingsError: a setting is missing or invalid.
    """
    definition = in_lake(load_definition(arguments.dataset or DatasetSettings.read().dataset))
    settings, store = LakeSettings.read(), ObjectStoreSettings.read()
    lake = Lake(bronze=settings.bronze, silver=settings.silver, gold=settings.gold, prefix=definition.lake_prefix)
    with logged(BatchSettings.read().log_folder):
        manifests = Manifests(object_folder(lake.runs(), store))
        yield Workspace(definition=definition, lake=lake, settings=settings, store=store, manifests=manifests)
