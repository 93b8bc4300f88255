"""Build the settings of a dataset's connector from the database's template and the dataset's definition.

The key of a record is a single column of the table's key, as plain text: the transform `ExtractField` replaces the
connector's default key, which holds all key columns. So an order and its details have equal keys, and go to the same
partition number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from config.definition import Definition, Table
from config.kafka_security import java_client
from config.naming import connector_name as connector_name
from config.naming import source_schema
from config.settings import ConnectSettings
from stack.errors import StackError
from streams.model.position import with_epoch
from streams.topics import SOURCE_SIGNALS, topic_under

SIGNAL_TABLE: Final = "millrace_signal"
"""Table of the dataset's database whose rows are signals for the connector."""

SIGNAL_SETTING: Final = "signal.data.collection"

TEMPLATES = Path(__file__).resolve().parents[2] / "config" / "connectors"

_PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")
_REFERENCE = re.compile(r"\$\{env:CONNECTOR_(DATABASE|PG|KAFKA)_\w+\}")
_KAFKA_LOGIN = "${env:CONNECTOR_KAFKA_JAAS}"
_TRUSTSTORE_PASSWORD = "${env:CONNECTOR_DATABASE_TRUSTSTORE_PASSWORD}"  # noqa: S105 - a reference
_TLS_MODES = {
    "mariadb": {"verify-ca": "verify-ca", "verify-full": "verify-full"},
    "mysql": {"verify-ca": "verify_ca", "verify-full": "verify_identity"},
}
_SECRET_WORDS = ("password", "secret", "token", "credential", "jaas")


@dataclass(frozen=True, kw_only=True)
class TableKey:
    """A captured table, and the column that becomes the key of its records."""

    table: str
    column: str


def connector_settings(definition: Definition, settings: ConnectSettings, *, epoch: int = 0) -> dict[str, str]:
    """Build the complete settings of a dataset's connector.

    The connector's name in the records (`topic.prefix`, in them `source.name`) has the epoch. Connect keeps the source
    position by this name, so the connector of a new epoch has none, and begins with a snapshot.

    Raises:
        StackError: the definition names no topic key for a table, or contains a secret in plain text.
    """
    host, port = _address(definition, settings)
    filled = {
        "prefix": with_epoch(definition.name, epoch),
        "database": definition.database,
        "database_host": host,
        "database_port": str(port),
        "kafka_bootstrap": settings.kafka_bootstrap,
        "schema_history_topic": f"schema-history.{with_epoch(definition.name, epoch)}",
        "schema": source_schema(definition),
        "slot": slot_name(definition.name, epoch),
    }
    is_postgres = definition.engine == "postgres"
    result = {
        **_fill(_read_template("postgres" if is_postgres else settings.database_kind), filled),
        **routing_settings(definition, table_keys(definition), epoch=epoch),
        **(_postgres_encryption(settings) if is_postgres else _encryption(settings) | _history_security(settings)),
        **definition.connector,
    }
    _require_no_plain_secrets(result)
    return result


def slot_name(dataset: str, epoch: int) -> str:
    """Return the name of the slot in PostgreSQL's log, and of the publication, of a dataset in an epoch."""
    return f"millrace_{with_epoch(dataset, epoch).replace('.', '_')}"


def slot_epoch(name: str, dataset: str) -> int | None:
    """Return the epoch whose slot of a dataset has this name; None if it is none of the dataset's slots."""
    found = re.fullmatch(rf"{re.escape(slot_name(dataset, 0))}(?:_e([1-9][0-9]*))?", name)
    return None if found is None else int(found[1] or 0)


def _address(definition: Definition, settings: ConnectSettings) -> tuple[str, int]:
    """Return host and port at which Connect reaches the dataset's database."""
    host, port, names = settings.database_host, settings.database_port, "MYSQL_HOST or CONNECTOR_DATABASE_HOST"
    if definition.engine == "postgres":
        host, port, names = settings.postgres_host, settings.postgres_port, "PGHOST or CONNECTOR_PG_HOST"
    if host is None:
        raise StackError(f"{names}: is not set, so Connect cannot reach the database of {definition.name}")
    return host, port


def table_keys(definition: Definition) -> tuple[TableKey, ...]:
    """List the captured tables in the definition's order, which is the order of the initial snapshot."""
    return tuple(TableKey(table=table.name, column=_key_column(table)) for table in definition.tables)


def routing_settings(definition: Definition, tables: Sequence[TableKey], *, epoch: int = 0) -> dict[str, str]:
    """Build the settings that select the tables, and set their topic names and record keys."""
    source = re.escape(f"{with_epoch(definition.name, epoch)}.{source_schema(definition)}.")
    result = {
        "table.include.list": _included(definition, [item.table for item in tables]),
        "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.route.regex": f"{source}(.*)",
        "transforms.route.replacement": topic_under(definition.topic_prefix, "$1"),
    }
    columns = sorted({item.column for item in tables})
    for column in columns:
        topics = [topic_under(definition.topic_prefix, item.table) for item in tables if item.column == column]
        result |= {
            f"transforms.key_{column}.type": "org.apache.kafka.connect.transforms.ExtractField$Key",
            f"transforms.key_{column}.field": column,
            f"transforms.key_{column}.predicate": f"keyed_by_{column}",
            # Applied only to these topics: the keys of heartbeats and schema changes have no such field.
            f"predicates.keyed_by_{column}.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
            f"predicates.keyed_by_{column}.pattern": "|".join(re.escape(topic) for topic in topics),
        }
    result |= signal_settings(definition, source)
    transforms = ["signals", "route", *(f"key_{column}" for column in columns)]
    predicates = [f"keyed_by_{column}" for column in columns]
    return result | {"transforms": ",".join(transforms), "predicates": ",".join(predicates)}


def _encryption(settings: ConnectSettings) -> dict[str, str]:
    """Build the settings with which the connector encrypts its connections to MySQL or MariaDB."""
    if settings.database_tls == "off":
        return {}
    found = {"database.ssl.mode": _TLS_MODES[settings.database_kind][settings.database_tls]}
    if settings.database_truststore is not None:
        found["database.ssl.truststore"] = str(settings.database_truststore)
        found["database.ssl.truststore.password"] = _TRUSTSTORE_PASSWORD
    return found


def _postgres_encryption(settings: ConnectSettings) -> dict[str, str]:
    found = {} if settings.postgres_tls == "prefer" else {"database.sslmode": settings.postgres_tls}
    if settings.postgres_ca_file is not None:
        found["database.sslrootcert"] = str(settings.postgres_ca_file)
    return found


def _included(definition: Definition, tables: Sequence[str]) -> str:
    """Return the regular expressions of tables, which the connector compares without regard to case.

    In PostgreSQL, two tables may differ in the case of their names only; the connector would take both.
    """
    case = "(?-i)" if definition.engine == "postgres" else ""
    return ",".join(f"{case}{source_schema(definition)}.{name}" for name in tables)


def signal_settings(definition: Definition, source: str) -> dict[str, str]:
    """Build the settings for signals and incremental reads, and select the tables of the initial snapshot.

    Args:
        source: beginning of the connector's own names of the topics, as a regular expression.
    """
    result = {
        SIGNAL_SETTING: f"{source_schema(definition)}.{SIGNAL_TABLE}",
        # The connector publishes the rows of this table as well. The topic takes the place of the table's own.
        "transforms.signals.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.signals.regex": f"{source}{SIGNAL_TABLE}",
        "transforms.signals.replacement": SOURCE_SIGNALS,
    }
    if definition.incremental_tables:
        first = [table.name for table in definition.tables if table not in definition.incremental_tables]
        result["snapshot.include.collection.list"] = _included(definition, first)
    return result


def _history_security(settings: ConnectSettings) -> dict[str, str]:
    """Build the settings with which the connector's own Kafka clients connect; those of all others are Connect's."""
    protocol, mechanism, authority = settings.kafka_security, settings.kafka_sasl_mechanism, settings.kafka_ca_file
    found: dict[str, str] = {}
    for client in ("producer", "consumer"):
        prefix = f"schema.history.internal.{client}."
        found |= java_client(protocol, mechanism, authority, login=_KAFKA_LOGIN, prefix=prefix)
    return found


def _key_column(table: Table) -> str:
    if table.topic_key is not None:
        return table.topic_key
    if len(table.key) > 1:
        raise StackError(f"table {table.name}: its key has several columns, so the definition must set topic_key")
    return table.key[0]


def _read_template(kind: str) -> dict[str, str]:
    path = TEMPLATES / f"{kind}.yaml"
    content = yaml.safe_load(path.read_text("utf-8"))
    assert all(isinstance(value, str) for value in content.values()), f"{path}: every value must be a quoted string"
    return {str(name): str(value) for name, value in content.items()}


def _fill(template: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    return {name: _PLACEHOLDER.sub(lambda match: values[match[1]], text) for name, text in template.items()}


def _require_no_plain_secrets(settings: Mapping[str, str]) -> None:
    """Reject secrets in plain text: Connect shows settings to anyone, so a secret must be an `${env:…}` reference."""
    for name, value in settings.items():
        if any(word in name.lower() for word in _SECRET_WORDS) and not _REFERENCE.fullmatch(value):
            raise StackError(
                f"{name}: the definition must not contain a secret; write "
                f"${{env:CONNECTOR_DATABASE_…}} and set that variable for the Connect process"
            )
