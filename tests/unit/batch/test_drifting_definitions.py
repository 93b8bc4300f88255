"""Goal: a Gold query that names a column or table which the definition has lost is refused by name, before any step.

Method: the definitions of the nightly test of drift, before and after the changes; no Spark.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from batch import gold
from config.dataset import DefinitionError
from tests.support.lake.drift_testbed import DriftTestbed
from tests.support.lake.drifting_tables import CHANGES

GONE = {"nullable_dropped", "required_dropped", "nullable_renamed", "required_renamed", "table_renamed"}


@pytest.fixture(params=["mysql", "postgres"])
def testbed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DriftTestbed:
    monkeypatch.setenv("DATASETS_DIR", str(tmp_path / "datasets"))
    return DriftTestbed(request.param, tmp_path)


@pytest.mark.parametrize("is_new", [False, True])
def test_queries_that_fit_their_definition_are_planned(testbed: DriftTestbed, is_new: bool) -> None:
    testbed.define(is_new=is_new)
    assert len(gold.plans(testbed.definition)) == len(CHANGES)


def test_queries_that_name_what_is_gone_are_refused_by_name(testbed: DriftTestbed) -> None:
    testbed.define(is_new=False)
    testbed.define(is_new=True, has_new_gold=False)
    with pytest.raises(DefinitionError) as raised:
        gold.plans(testbed.definition)
    files = {line.partition(".sql:")[0].rpartition("/gold_")[2] for line in str(raised.value).splitlines()}
    assert files == GONE
