"""The workspace of a command: the dataset, its lake and its manifests, and a Spark session on request."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from batch.console.logs import logged
from batch.context import RunContext
from batch.errors import BatchError
from batch.pipeline.manifest import Manifest, Manifests, TableRun
from batch.pipeline.up_to_date import find_up_to_date
from batch.spark.session import spark_session
from batch.storage.objects import object_folder
from batch.storage.paths import Lake
from config.dataset import load_definition
from config.definition import Definition
from config.settings import BatchSettings, DatasetSettings, LakeSettings, ObjectStoreSettings, SparkSettings


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A dataset with its lake, settings and manifests."""

    definition: Definition
    lake: Lake
    settings: LakeSettings
    store: ObjectStoreSettings
    manifests: Manifests

    @contextlib.contextmanager
    def spark(self, **more: bool) -> Iterator[SparkSession]:
        """Yield a Spark session, and stop it at the end; `more` are options of `spark_session`."""
        session = spark_session(SparkSettings.read(), self.store, app=f"millrace {self.definition.name}", **more)
        try:
            yield session
        finally:
            with contextlib.suppress(Py4JError, OSError):  # Java may have ended already, which is reported elsewhere
                session.stop()

    def context(self, spark: SparkSession, run_id: str, started_at: datetime, **more: Any) -> RunContext:
        """Return the context of a run over this lake; `more` are further attributes of `RunContext`."""
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
        """Return the unchanged outcome of each table if a run after `previous` would find nothing new, else None."""
        return find_up_to_date(previous, self.definition, self.lake, lambda uri: object_folder(uri, self.store))

    def is_empty(self) -> bool:
        """Whether no run over this lake has written a manifest yet."""
        return self.manifests.newest(datetime.now(UTC)) is None

    def newest(self) -> Manifest:
        """Return the newest manifest, whose table versions are in force.

        Raises:
            BatchError: there is no manifest yet.
        """
        manifest = self.manifests.newest(datetime.now(UTC))
        if manifest is None:
            raise BatchError(
                f"no run of {self.definition.name} found at {self.lake.runs()}: run `python -m batch run` first"
            )
        return manifest


def add_dataset_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that selects the dataset."""
    parser.add_argument("--dataset", metavar="NAME", help="default: the setting DATASET, or project_db")


@contextlib.contextmanager
def open_workspace(arguments: argparse.Namespace) -> Iterator[Workspace]:
    """Yield the workspace that settings and arguments select, and write log files inside the block.

    Raises:
        DefinitionError: the dataset is unknown, or its definition is malformed.
        SettingsError: a setting is missing or wrong.
    """
    definition = load_definition(arguments.dataset or DatasetSettings.read().dataset)
    settings, store = LakeSettings.read(), ObjectStoreSettings.read()
    lake = Lake(bronze=settings.bronze, silver=settings.silver, gold=settings.gold, prefix=definition.lake_prefix)
    with logged(BatchSettings.read().log_folder):
        manifests = Manifests(object_folder(lake.runs(), store))
        yield Workspace(definition=definition, lake=lake, settings=settings, store=store, manifests=manifests)
