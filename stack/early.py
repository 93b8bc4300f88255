"""Fetch the servers' programs while a first command runs: `python -m stack.early COMMAND …`.

`make demo` runs the installation of the Python packages in this way, which takes a minute and only one processor. So
this module, and all that it imports, needs nothing but Python itself. It returns the exit code of the command. What is
still being fetched then is cancelled, and continued by the program that needs it: Go and Maven keep all that they have
finished. For the same reason a failure is not reported here.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence

from config.settings import CacheSettings
from stack.artifacts.java import fetch_java
from stack.artifacts.minio import fetch_minio
from stack.background import Background


def main(command: Sequence[str]) -> int:
    """Run the command, and fetch programs in the background until it ends; return its exit code."""
    cache = CacheSettings.read().expanded()
    with Background(
        {
            "downloading Kafka and Debezium": lambda job: fetch_java(cache, job),
            "building MinIO": lambda job: fetch_minio(cache, job),
        }
    ):
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the tools end too
    sys.exit(main(sys.argv[1:]))
