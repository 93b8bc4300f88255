"""Errors that adapters raise and the runtime knows."""

from __future__ import annotations


class SinkAwayError(Exception):
    """A sink that is not Kafka does not answer; another try may succeed."""
