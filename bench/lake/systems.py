"""The measured lake systems, and the commands that run them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.lake import gold
from bench.lake.figures import MILLRACE, PLAIN
from bench.lake.gold import Digests
from bench.lake.testbed import LakeBenchTestbed
from bench.systems import PEER_PYTHON
from config.settings import SparkSettings, environment_with
from stack.errors import StackError
from stack.site import REPOSITORY

_INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR", "USER", "JAVA_HOME")
_LAYERS: Final = ("bronze", "silver", "gold")


@dataclass(frozen=True, kw_only=True)
class LakeSystem:
    """A measured system, which fills Bronze, Silver and Gold from the source.

    Attributes:
        what: description of the system.
        commands: function that returns the system's commands, given the path of its job file.
    """

    name: str
    what: str
    commands: Callable[[Path], Sequence[Sequence[str]]]

    def run_commands(self, testbed: LakeBenchTestbed) -> Sequence[Sequence[str]]:
        """Write the job file for a testbed, and return the commands that run the system on it."""
        return self.commands(_job_file(testbed, self.name))

    def gold(self, testbed: LakeBenchTestbed) -> Digests:
        """Compute the digests of the Gold tables that the system wrote on a testbed."""
        return gold.of_delta(testbed) if self.name == MILLRACE else gold.of_parquet(testbed, self.name)


def _spark(job: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "bench.peers.plain_parquet", "--job", str(job), *more]


SYSTEMS: Final = (
    LakeSystem(
        name=MILLRACE,
        what="Millrace as shipped: Delta tables, merged changes, manifest, lease and quality rules",
        commands=lambda job: [[sys.executable, "-m", "batch", "run"]],
    ),
    LakeSystem(
        name=PLAIN,
        what="Spark, which overwrites everything as Parquet, in one session",
        commands=lambda job: [_spark(job)],
    ),
    LakeSystem(
        name="plain_parquet_per_layer",
        what="Spark, which overwrites everything as Parquet, in one session per layer",
        commands=lambda job: [_spark(job, "--layers", layer) for layer in _LAYERS],
    ),
    LakeSystem(
        name="polars",
        what="Polars instead of Spark, in one process, with all data in memory",
        commands=lambda job: [[str(PEER_PYTHON), "-m", "bench.peers.polars_job", "--job", str(job)]],
    ),
)


def require(systems: Sequence[LakeSystem]) -> None:
    """Check that the systems' programs are installed.

    Raises:
        StackError: the Python environment of the peers is missing.
    """
    if any(system.name == "polars" for system in systems) and not PEER_PYTHON.exists():
        raise StackError(f"{PEER_PYTHON} is missing: create it by running `make bench-batch`")


def environment_of(testbed: LakeBenchTestbed) -> Mapping[str, str]:
    """Return the environment variables for all systems, without the settings of this process's environment."""
    own = {
        "LOG_DIR": str(testbed.base.folder / "logs"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
    }
    return environment_with({**own, **testbed.base.environment}, only=_INHERITED)


def _job_file(testbed: LakeBenchTestbed, name: str) -> Path:
    """Write a peer's job file, readable only by the current user because it contains passwords; return its path."""
    database, store = testbed.database, testbed.storage
    spark = SparkSettings.read(testbed.base.environment)
    job: dict[str, Any] = {
        "folder": name,
        "customers": testbed.plan.customers,
        "queries": str(Path(testbed.definition.folder, "gold")),
        "database": {
            "host": database.host,
            "port": database.port,
            "user": database.user,
            "password": database.password,
            "name": testbed.definition.database,
        },
        "store": {"endpoint": store.endpoint, "access_key": store.access_key, "secret_key": store.secret_key},
        "spark": {
            "jars": str(spark.jars),
            "master": spark.master,
            "memory": spark.driver_memory,
            "shuffle_partitions": str(spark.shuffle_partitions),
        },
    }
    path = testbed.base.folder / f"{name}.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(job))
    return path
