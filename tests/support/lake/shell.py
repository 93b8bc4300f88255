"""Run several commands of `python -m batch` in one process, which starts Java and the Spark context only once.

Each line of standard input is a request in JSON: `{"argv": […]}` runs a command, and `{"queries": […]}` returns the
rows of SQL queries on the views of Gold and Silver; the key `environment` contains the settings. Each response is a
line of JSON on the original standard output. Each command gets a new Spark session.
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
    """Run the request's command or queries with its settings, and return the response."""
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
    """Convert rows to JSON values: whole numbers and nulls are kept, other values become text."""
    return [[value if isinstance(value, int | None) else str(value) for value in row] for row in rows]


def _keep_spark() -> None:
    """Give each command a new session of the same Spark context, and keep the context when a command ends.

    The options `records_class_data` and `optimises` are ignored, because the shell runs short commands.
    """
    start = session.spark_session

    def kept(settings: SparkSettings, store: ObjectStoreSettings, *, app: str, **_: bool) -> SparkSession:
        return start(settings, store, app=app).newSession()

    setattr(workspaces, "spark_session", kept)  # noqa: B010 - the name is imported into that module
    SparkSession.stop = lambda self: None  # type: ignore[method-assign]


def run() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    _keep_spark()
    os.dup2(2, 1)  # so that Java's output does not mix with the responses
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception:
            found = {"failed": traceback.format_exc()}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    run()
