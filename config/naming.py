"""Names that several programs must agree on."""

from __future__ import annotations


def connector_name(dataset: str) -> str:
    """Return the name of a dataset's connector in Kafka Connect."""
    return f"{dataset}-connector"
