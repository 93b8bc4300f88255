"""Errors raised by adapters and handled by the runtime."""

from __future__ import annotations


class SinkAwayError(Exception):
    """A sink other than Kafka does not answer; another attempt may succeed."""
