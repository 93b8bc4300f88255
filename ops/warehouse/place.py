"""Where a dataset's warehouse is, and which tables it has."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from config.database_settings import WarehouseDatabaseSettings
from config.definition import Definition
from config.engines import ENGINES
from config.engines.base import Connection
from config.engines.faults import Fault
from config.engines.postgres_connection import DEFAULT_SCHEMA
from config.settings import DatasetSettings
from ops.context import definition_of, settings_environment
from ops.database import connected
from stack.errors import StackError
from streams.model.warehouse import WarehouseTable, warehouse_tables

_ENGINE: Final = ENGINES[WarehouseDatabaseSettings.engine]


def subject_of(arguments: argparse.Namespace) -> tuple[Definition, WarehouseDatabaseSettings]:
    """Return the definition of a command's dataset, and the settings of its warehouse.

    Raises:
        StackError: the warehouse's schema would be that of the source's own tables.
    """
    environment = settings_environment(arguments)
    settings = WarehouseDatabaseSettings.read(environment)
    definition = definition_of(DatasetSettings.read(environment).dataset)
    _require_other_schema(definition, settings, environment)
    return definition, settings


def _require_other_schema(
    definition: Definition, settings: WarehouseDatabaseSettings, environment: Mapping[str, str]
) -> None:
    """Refuse the schema with the source's own tables, which `reset` would remove."""
    place = (settings.host, str(settings.port), settings.database, definition.name)
    server = (environment.get("PGHOST", settings.host), environment.get("PGPORT", str(settings.port)))
    source = (*server, definition.database, definition.schema or DEFAULT_SCHEMA)
    if definition.engine == "postgres" and place == source:
        raise StackError(
            f"schema {definition.name} of {settings.database} has the source's own tables: set WAREHOUSE_DATABASE to "
            "another database"
        )


@contextmanager
def warehouse_connection(settings: WarehouseDatabaseSettings, schema: str | None = None) -> Iterator[Connection]:
    """Yield a connection to the warehouse's database; name the command that creates the database if it is missing."""
    try:
        with connected(settings, settings.database, schema) as connection:
            yield connection
    except StackError as error:
        cause = error.__cause__
        if isinstance(cause, _ENGINE.errors) and _ENGINE.fault(cause) is Fault.NO_DATABASE:
            raise StackError(f"there is no database {settings.database!r}: run `millrace warehouse apply`") from cause
        raise


def tables_of(definition: Definition) -> tuple[WarehouseTable, ...]:
    """Return the tables that a dataset has in the warehouse.

    Raises:
        StackError: it has none.
    """
    found = warehouse_tables(definition.tables)
    if not found:
        raise StackError(f"no table of dataset {definition.name} has `warehouse` in its definition")
    return found
