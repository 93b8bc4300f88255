"""Fetch Spark's jars into a cache folder, and print their folder: `python -m stack.artifacts.lake CACHE`.

The build of the lake's image calls it. On one machine `millrace up` fetches them.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from stack.artifacts.lake.jars import fetch_lake_jars, lake_prerequisites
from stack.errors import StackError
from stack.job import Job
from stack.prerequisites import check_prerequisites


def main() -> None:
    """Fetch the jars into the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m stack.artifacts.lake CACHE")
    cache = Path(sys.argv[1])
    try:
        check_prerequisites(lake_prerequisites(cache))
        print(fetch_lake_jars(cache, Job(lambda text: print(text, file=sys.stderr), threading.Event())))
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
