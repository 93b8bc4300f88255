"""How long a commit takes to Gold while a service runs: from the commit to the end of the run that took it."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from batch.pipeline.manifest import Manifests
from batch.storage.objects import object_folder
from config.database_settings import DatabaseSettings
from config.settings import ObjectStoreSettings
from demo.proof import percentile
from ops.database import connected
from ops.dataset.shop import NewOrder, place_order
from tests.support.lake.testbed import LakeTestbed


@dataclass(frozen=True)
class Freshness:
    """Seconds from the commit to Gold."""

    orders: int
    p50_s: float
    p95_s: float
    longest_s: float

    def __str__(self) -> str:
        return f"{self.orders} orders: p50 {self.p50_s:.1f} s, p95 {self.p95_s:.1f} s, longest {self.longest_s:.1f} s"


def place_orders(testbed: LakeTestbed, count: int, rate_per_s: float) -> dict[str, float]:
    """Place orders at a pace; when each was committed, Unix time by its id."""
    draw = random.Random(1)  # noqa: S311 - a test
    placed: dict[str, float] = {}
    with connected(DatabaseSettings.read(testbed.environment), "project_db") as connection:
        for _ in range(count):
            began = time.monotonic()
            order = NewOrder(
                order_id=str(uuid.uuid4()),
                customer_id=draw.randint(1, 1_000),
                store_id=1,
                payment_method_id=1,
                lines=[(draw.randint(1, 100), 1)],
                ordered_at=datetime.now(UTC),
            )
            place_order(connection, order)
            placed[order.order_id] = time.time()
            time.sleep(max(0.0, 1 / rate_per_s - (time.monotonic() - began)))
    return placed


def freshness(testbed: LakeTestbed, placed: Mapping[str, float]) -> Freshness:
    """Of orders that are in the lake by now: their row in Silver names the run that took them."""
    folder = object_folder("s3a://gold/audit/runs", ObjectStoreSettings.read(testbed.environment))
    visible = {manifest.run_id: manifest.ended_at.timestamp() for manifest in Manifests(folder).last(200)}
    runs = dict(testbed.gold("SELECT id, _run_id FROM orders"))
    waits = sorted(visible[runs[id_]] - at for id_, at in placed.items())
    return Freshness(len(waits), percentile(waits, 0.5), percentile(waits, 0.95), waits[-1])
