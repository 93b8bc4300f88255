"""Goal: every layer tries again while the object storage is unreachable, and finally reports it with the table.

Method: the layers' work is replaced by work that fails a given number of times, without pauses; no Spark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch import bronze, gold
from batch.context import LayerResult, RunContext
from batch.errors import StorageError
from batch.pipeline.plan import steps
from batch.pipeline.runner import Step
from batch.silver import refine
from tests.support.lake.bronze_testbed import run_context

TABLES = {"bronze": "orders", "silver": "orders", "gold": "fact_orders"}
LAYERS = {"bronze": (bronze, "land"), "silver": (refine, "refine"), "gold": (gold, "build")}


class AWSClientIOException(Exception):
    """What S3A raises when nobody answers."""


class Work:
    """The work of a layer, whose first tries fail."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.tries = 0

    def __call__(self, subject: Any, context: RunContext) -> LayerResult:
        self.tries += 1
        if self.tries <= self.failures:
            raise AWSClientIOException("refused")
        return LayerResult(layer="any", table=subject.name, version=self.tries)


def only_step(monkeypatch: pytest.MonkeyPatch, folder: Path, layer: str, work: Work) -> Step:
    monkeypatch.setattr("batch.storage.retry.PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(*LAYERS[layer], work)
    spark: Any = None
    [step] = steps(run_context(spark, folder), layer=layer, table=TABLES[layer])
    return step


@pytest.mark.parametrize("layer", LAYERS)
def test_a_storage_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layer: str) -> None:
    work = Work(failures=2)
    assert only_step(monkeypatch, tmp_path, layer, work).work().version == work.tries == 3


@pytest.mark.parametrize("layer", LAYERS)
def test_a_storage_that_stays_unreachable_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layer: str
) -> None:
    work = Work(failures=9)
    step = only_step(monkeypatch, tmp_path, layer, work)
    with pytest.raises(StorageError, match=f"{layer}/{TABLES[layer]}: "):
        step.work()
    assert work.tries == 3
