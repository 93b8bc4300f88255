"""Goal: a sick network between the archive's worker and the storage loses and repeats nothing, and passes by itself.

Method: a real worker that reaches MinIO through a proxy, which delays, cuts or loses what passes, while records go on
arriving. Oracle: Kafka, read to its end, against the chains in MinIO, both without the proxy.
"""

from __future__ import annotations

import random
import secrets
import time
from typing import Final

import pytest

from tests.faults.tcp_proxy import TcpProxy
from tests.faults.trouble import Trouble
from tests.streams.archive.archived_shop import ArchivedShop

OUTAGE_S: Final = 10.0
ORDERS: Final = 20


@pytest.mark.nightly
def test_a_sick_network_to_the_storage_passes_by_itself(shop: ArchivedShop) -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")
    with TcpProxy(shop.stack.site.ports["minio"]) as proxy:
        worker = shop.worker(MINIO_ENDPOINT=f"http://{proxy.address}", ARCHIVE_FLUSH_BYTES="20000")
        pid = worker.process.pid
        for trouble in Trouble:
            shop.orders(ORDERS)
            proxy.trouble(trouble, random.Random(f"{seed}/{trouble}"))  # noqa: S311 - faults by chance, no secrets
            healthy_at = time.monotonic() + OUTAGE_S
            while time.monotonic() < healthy_at:
                shop.orders(ORDERS)
                time.sleep(0.5)
            proxy.heal()
            shop.until_complete()
            assert worker.is_running(), f"the worker ended: {trouble}"
        assert worker.process.pid == pid
