"""A runner of steps that are plain functions, with manifests in a folder and a fake Redis."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from batch.context import LayerResult
from batch.pipeline.job_record import JobRecord
from batch.pipeline.manifest import Manifest, Manifests
from batch.pipeline.runner import Runner, Step
from batch.storage.objects import LocalFolder
from tests.support.lake.fake_redis import FakeRedis


class Lines(list[str]):
    """The printed lines."""

    def say(self, line: str) -> None:
        self.append(line)

    @property
    def text(self) -> str:
        return "\n".join(self)


def step(layer: str, table: str, version: int | None = 1, rows: int = 0) -> Step:
    result = LayerResult(layer=layer, table=table, version=version, rows_written=rows, is_unchanged=not rows)
    return Step(layer=layer, table=table, work=lambda: result)


def failing(layer: str, table: str, error: Exception) -> Step:
    def work() -> LayerResult:
        raise error

    return Step(layer=layer, table=table, work=work)


class RunTestbed:
    """A runner with its manifests, its Redis, its printed lines, and the manifests that were published."""

    def __init__(self, folder: Path) -> None:
        self.redis = FakeRedis()
        self.said = Lines()
        self.manifests = Manifests(LocalFolder(folder / "runs"))
        self.steps: list[Step] = []
        self.published: list[Manifest] = []
        self.runner = self.quiet(is_quiet=False)

    def quiet(self, *, is_quiet: bool) -> Runner:
        record = JobRecord(self.redis, "project_db", self.said.say)
        return Runner(
            dataset="project_db",
            manifests=self.manifests,
            record=record,
            plan=lambda run_id, started: list(self.steps),
            say=self.said.say,
            is_quiet=is_quiet,
            publish=self.published.append,
        )

    @property
    def job(self) -> dict[str, str]:
        return self.redis.hashes["batch_jobs:project_db"]

    def newest(self) -> Manifest | None:
        return self.manifests.newest(datetime.now(UTC))
