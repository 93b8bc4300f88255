"""Download, build or install every server's programs before parallel test lanes need them."""

from __future__ import annotations

import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stack.errors import StackError
from stack.job import Job
from stack.ports import DEFAULT_PORTS
from stack.prerequisites import check_prerequisites
from stack.servers import SERVERS
from stack.servers.base import Server
from stack.site import Site, load_or_create_site


def fetch_all(site: Site, cancelled: threading.Event) -> None:
    """Download, build or install the programs of all servers in parallel; the first time takes minutes.

    Raises:
        StackError: a prerequisite is missing, or a program could not be downloaded, built or installed.
    """
    check_prerequisites(item for server in SERVERS.values() for item in server.prerequisites(site))

    def fetch(server: Server) -> None:
        server.fetch(site, Job(lambda text: print(f"{server.name:<8} {text}", flush=True), cancelled))

    with ThreadPoolExecutor(len(SERVERS)) as pool:
        try:
            list(pool.map(fetch, SERVERS.values()))
        except BaseException:
            cancelled.set()
            raise


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        try:
            fetch_all(load_or_create_site(Path(folder), DEFAULT_PORTS), threading.Event())
        except StackError as error:
            sys.exit(str(error))
