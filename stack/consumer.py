"""Consumers of the tools: they see committed records only, and commit nothing themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer


def committed_consumer(bootstrap: str, group: str, settings: Mapping[str, Any], **keywords: Any) -> Consumer:
    """A consumer that is assigned its partitions by hand; `group` is only a name.

    Args:
        settings: more settings of librdkafka. Its own lines about a missing broker are left out: they would stand
            beside the named error of whoever reads.
        keywords: of `Consumer`.
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 2,
            **settings,
        },
        **keywords,
    )
