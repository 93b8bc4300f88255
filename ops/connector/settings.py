"""Build the settings of a dataset's connector from its database's template and the dataset's definition.

The key of a record is one column of the table's key as bare text (`ExtractField` after the connector's own, unique
key), so that an order and its details have equal keys and land in the same partition number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from config.definition import Definition, Table
from config.settings import ConnectSettings
from stack.errors import StackError
from streams.topics import change_topic

TEMPLATES = Path(__file__).resolve().parents[2] / "config" / "connectors"

_PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")
_REFERENCE = re.compile(r"\$\{env:CONNECTOR_DATABASE_\w+\}")
_SECRET_WORDS = ("password", "secret", "token", "credential", "jaas")


@dataclass(frozen=True, kw_only=True)
class TableKey:
    """A captured table, and the column that becomes the key of its topic."""

    table: str
    column: str


def connector_name(dataset: str) -> str:
    """Name of a dataset's connector in Connect."""
    return f"{dataset}-connector"


def connector_settings(definition: Definition, settings: ConnectSettings) -> dict[str, str]:
    """Build the complete settings of a dataset's connector.

    Raises:
        StackError: the definition lacks something, or would put a secret into the settings.
    """
    filled = {
        "dataset": definition.name,
        "database": definition.database,
        "database_host": settings.database_host,
        "database_port": str(settings.database_port),
        "kafka_bootstrap": settings.kafka_bootstrap,
        "schema_history_topic": f"schema-history.{definition.name}",
    }
    result = {
        **_fill(_read_template(settings.database_kind), filled),
        **routing_settings(definition, table_keys(definition)),
        **definition.connector,
    }
    _require_no_plain_secrets(result)
    return result


def table_keys(definition: Definition) -> tuple[TableKey, ...]:
    """List the captured tables in the definition's order, which is the order of the initial snapshot."""
    return tuple(TableKey(table=table.name, column=_key_column(table)) for table in definition.tables)


def routing_settings(definition: Definition, tables: Sequence[TableKey]) -> dict[str, str]:
    """Build the settings that choose the tables, the names of their topics, and the key of each."""
    result = {
        "table.include.list": ",".join(f"{definition.database}.{item.table}" for item in tables),
        "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.route.regex": rf"{re.escape(f'{definition.name}.{definition.database}.')}(.*)",
        "transforms.route.replacement": change_topic(definition.name, "$1", engine=definition.engine),
    }
    columns = sorted({item.column for item in tables})
    for column in columns:
        topics = [
            change_topic(definition.name, item.table, engine=definition.engine)
            for item in tables
            if item.column == column
        ]
        result |= {
            f"transforms.key_{column}.type": "org.apache.kafka.connect.transforms.ExtractField$Key",
            f"transforms.key_{column}.field": column,
            f"transforms.key_{column}.predicate": f"keyed_by_{column}",
            # Only these topics: the keys of heartbeats and of schema changes have no such field.
            f"predicates.keyed_by_{column}.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
            f"predicates.keyed_by_{column}.pattern": "|".join(re.escape(topic) for topic in topics),
        }
    result["transforms"] = ",".join(["route", *(f"key_{column}" for column in columns)])
    result["predicates"] = ",".join(f"keyed_by_{column}" for column in columns)
    return result


def _key_column(table: Table) -> str:
    if table.topic_key is not None:
        return table.topic_key
    if len(table.key) > 1:
        raise StackError(f"table {table.name}: its key has several columns; the definition must name its topic_key")
    return table.key[0]


def _read_template(kind: str) -> dict[str, str]:
    path = TEMPLATES / f"{kind}.yaml"
    content = yaml.safe_load(path.read_text("utf-8"))
    assert all(isinstance(value, str) for value in content.values()), f"{path}: every value is a text in quotes"
    return {str(name): str(value) for name, value in content.items()}


def _fill(template: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    return {name: _PLACEHOLDER.sub(lambda match: values[match[1]], text) for name, text in template.items()}


def _require_no_plain_secrets(settings: Mapping[str, str]) -> None:
    """Fail on a secret in plain text: Connect shows a connector's settings to anyone, so it must be a reference."""
    for name, value in settings.items():
        if any(word in name.lower() for word in _SECRET_WORDS) and not _REFERENCE.fullmatch(value):
            raise StackError(
                f"{name}: a secret does not belong into the definition; write "
                f"${{env:CONNECTOR_DATABASE_…}} and set that variable for the Connect process"
            )
