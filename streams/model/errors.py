"""Error type for failures of sinks other than Kafka, which the runtime handles."""

from __future__ import annotations


class SinkAwayError(Exception):
    """Error raised when a sink other than Kafka fails; the runtime reopens the partition and tries again."""
