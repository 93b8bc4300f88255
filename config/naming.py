"""Names that several programs must agree on."""

from __future__ import annotations

from config.definition import Definition


def connector_name(dataset: str) -> str:
    """Return the name of a dataset's connector in Kafka Connect."""
    return f"{dataset}-connector"


def source_schema(definition: Definition) -> str:
    """Return the first part of a table's name in the connector's settings and topics: of PostgreSQL, the schema."""
    return (definition.schema or "public") if definition.engine == "postgres" else definition.database
