"""Goal: all four shipped datasets live on one stack at once, each lake equals its own source, and none has what is
another's.

Method: both databases, one Kafka, Connect, Redis and MinIO; every dataset is made, filled, captured and archived by the
commands that people type, while all of them change; then each has a run of the lake and a comparison.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from minio import Minio

from config.dataset import known_datasets, load_definition
from config.settings import ArchiveSettings, ObjectStoreSettings, environment_with
from demo.archived import ArchiveCount, captured
from demo.workers import Worker
from ops.cli import main
from stack.ports import free_ports
from stack.site import REPOSITORY
from streams.topics import Direction, TopicSpec, catalogue_of
from tests.support.lake.testbed import Shell
from tests.support.server_waiting import until
from tests.support.stacks import stack_with_postgres

# On every push, each dataset has tests of its own (test_online_store, test_postgres, test_results, test_whole_way).
pytestmark = pytest.mark.nightly

SERVERS: Final = ("kafka", "connect", "mariadb", "postgres", "redis", "minio")
NAMES: Final = ("project_db", "online_store", "shop", "firma")
FILL: Final[Mapping[str, tuple[str, ...]]] = {
    "project_db": ("generate", "--size", "0.02", "--customers", "500"),
    "online_store": ("generate", "--size", "0.005", "--customers", "100"),
    "shop": ("generate", "--size", "0.01", "--customers", "200"),
    "firma": ("load", "--all"),
}
LIVES: Final = ("project_db", "online_store", "shop")
"""The datasets with a simulated life; `firma` is loaded from files."""


class Datasets:
    """The datasets on one stack."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        self._environment = environment
        self._shells = {name: Shell(folder / f"{name}.log") for name in NAMES}

    def environment(self, name: str) -> dict[str, str]:
        """The settings of one dataset's programs."""
        more = {"DATASET": name, "LOG_DIR": str(self._folder / name), "ARCHIVE_APP_ID": f"archive-{name}"}
        return {**self._environment, **more, "SPARK_MASTER": "local[2]", "ARCHIVE_FLUSH_S": "0.5"}

    def close(self) -> None:
        """End the shells."""
        for shell in self._shells.values():
            shell.close()

    def run(self, name: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> None:
        """Run a command of `millrace` for one dataset."""
        with pytest.MonkeyPatch.context() as patch:
            for key, value in self.environment(name).items():
                patch.setenv(key, value)
            patch.chdir(self._folder)  # where rejected rows of a file are written
            assert main(list(arguments)) in codes, (name, arguments)

    def batch(self, name: str, *arguments: str) -> str:
        """Run a command of the lake for one dataset, which has a Spark of its own."""
        found = self._shells[name].ask({"argv": arguments}, self.environment(name))
        assert found["code"] == 0, (name, found["out"], found["err"])
        return str(found["out"])

    @contextmanager
    def archived(self, name: str) -> Iterator[None]:
        """Run the dataset's archive worker during the block, and wait for every change at its end."""
        with self.worker(name, "streams.archive"):
            yield
            there = captured(self._environment["KAFKA_BOOTSTRAP"], topics_of(name))
            store, settings = ObjectStoreSettings.read(self._environment), ArchiveSettings.read(self.environment(name))
            count = ArchiveCount(store, settings, topics_of(name))
            until(lambda: count.records() >= there, f"all changes of {name} are archived")

    @contextmanager
    def worker(self, name: str, application: str) -> Iterator[None]:
        """Run a worker for one dataset during the block."""
        [port] = free_ports(["worker"]).values()
        environment, folder = self.environment(name), self._folder / name
        worker = Worker(web_port=port, environment=environment, folder=folder, application=application)
        worker.start()
        try:
            worker.wait_ready()
            yield
        finally:
            worker.stop()

    @contextmanager
    def living(self, name: str) -> Iterator[None]:
        """Let the dataset change during the block."""
        life = [sys.executable, "-m", "ops.cli", "dataset", "simulate", "--rate", "10", "--seed", "5"]
        environment = environment_with(self.environment(name))
        with subprocess.Popen(life, env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
            yield
            assert process.poll() is None, f"the life of {name} has ended by itself"
            process.terminate()

    def places(self) -> set[str]:
        """The folders of the lake with data, to the second level."""
        store = ObjectStoreSettings.read(self._environment)
        client = Minio(
            urlsplit(store.endpoint).netloc, access_key=store.access_key, secret_key=store.secret_key, secure=False
        )
        names = [
            f"{bucket}/{each.object_name}"
            for bucket in ("bronze", "silver", "gold")
            for each in client.list_objects(bucket, recursive=True)
        ]
        return {"/".join(name.split("/")[:3]) for name in names}


def topics_of(name: str) -> list[TopicSpec]:
    """The topics with a dataset's changes."""
    found = catalogue_of(load_definition(name), app_id="-", order_partitions=4)
    return [spec for spec in found if spec.direction is Direction.IN]


@pytest.fixture
def datasets(tmp_path: Path) -> Iterator[Datasets]:
    """The stack with all servers."""
    with stack_with_postgres(tmp_path / "stack", SERVERS) as stack:
        found = Datasets(environment_with(stack.environment()), tmp_path)
        yield found
        found.close()


def test_four_datasets_on_one_stack_have_four_lakes(datasets: Datasets) -> None:
    assert set(NAMES) == set(known_datasets())
    for name in NAMES:
        datasets.run(name, "dataset", "init")
        datasets.run(name, "dataset", *FILL[name], codes=(0, 1))  # 1: the files of firma have a bad row each
        datasets.run(name, "topics", "apply")
    for name in NAMES:
        datasets.run(name, "connector", "apply", "--wait-snapshot")
    with datasets.worker("project_db", "streams.orders"):
        with ExitStack() as archives:
            for name in NAMES:
                archives.enter_context(datasets.archived(name))
            with ExitStack() as lives:
                for name in LIVES:
                    lives.enter_context(datasets.living(name))
                for name in NAMES:
                    datasets.run(name, "connector", "status")
        for name in NAMES:
            datasets.batch(name, "run")
        for name in NAMES:
            assert "verdict: equal" in datasets.batch(name, "reconcile"), name
            assert "nothing new" in datasets.batch(name, "run"), name
    of_topics = [{spec.name for spec in topics_of(name)} for name in NAMES]
    assert len(set().union(*of_topics)) == sum(map(len, of_topics))
    archived = {place.split("/")[2] for place in datasets.places() if place.startswith("bronze/changes/")}
    assert archived == set().union(*of_topics)
    assert {f"bronze/{name}" for name in NAMES[1:]} <= {place.rpartition("/")[0] for place in datasets.places()}
