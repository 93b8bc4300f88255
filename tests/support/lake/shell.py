"""Run commands of `python -m batch` in one process: Java and the Spark context are started once for all of them.

Reads lines of JSON from standard input: `{"argv": […]}` runs a command, `{"queries": […]}` gives the rows of each SQL
query on the views of Gold and Silver; `"environment"` has the settings for it. Each is answered by one line of JSON on
the real standard output. Each command has a Spark session of its own, as `run --every` has for all of its runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Iterable
from typing import Any

from pyspark.sql import SparkSession

from batch.__main__ import main
from batch.commands.inspect import queried
from batch.pipeline import workspace as workspaces
from batch.pipeline.workspace import open_workspace
from batch.spark import session
from config.settings import ObjectStoreSettings, SparkSettings


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run the command, or the queries, with its settings."""
    os.environ.clear()
    os.environ.update(request["environment"])
    if "queries" in request:
        with open_workspace(argparse.Namespace(dataset=None)) as workspace, workspace.spark() as spark:
            return {"rows": [plain(queried(spark, workspace, query).collect()) for query in request["queries"]]}
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(request["argv"])
        except SystemExit as error:
            code = int(error.code or 0)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def plain(rows: Iterable[Iterable[Any]]) -> list[list[Any]]:
    """Rows as JSON can carry them: what is no number as text."""
    return [[value if isinstance(value, int | None) else str(value) for value in row] for row in rows]


def _keep_spark() -> None:
    """Give each command a new session of the same Spark, which the end of a command does not stop.

    Java neither records classes nor optimises: it serves short commands, whatever the first of them is.
    """
    start = session.spark_session

    def kept(settings: SparkSettings, store: ObjectStoreSettings, *, app: str, **_: bool) -> SparkSession:
        return start(settings, store, app=app).newSession()

    setattr(workspaces, "spark_session", kept)  # noqa: B010 - it is imported there
    SparkSession.stop = lambda self: None  # type: ignore[method-assign]


def run() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    _keep_spark()
    os.dup2(2, 1)  # whatever Java prints is not to come between the answers
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception:
            found = {"failed": traceback.format_exc()}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    run()
