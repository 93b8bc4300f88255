"""Commands of `python -m batch` in one long-lived process: Java is started once, not for every command.

Reads lines of JSON from standard input: `{"argv": […]}` runs a command, `{"queries": […]}` gives the rows of each SQL
query on the views of Gold and Silver. Each is answered by one line of JSON on the real standard output.
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

from batch.__main__ import main
from batch.commands.inspect import queried
from batch.pipeline.workspace import open_workspace


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked."""
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


def run() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever Java prints is not to come between the answers
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception:
            found = {"failed": traceback.format_exc()}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    run()
