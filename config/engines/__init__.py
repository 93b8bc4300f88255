"""The kinds of source databases: what each of them writes differently, and the only users of their drivers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from config.definition import Definition
from config.engines.base import Engine, SourceSettings
from config.engines.mysql import MySQL
from config.engines.postgres import Postgres

ENGINES: Final[Mapping[str, Engine]] = {engine.name: engine for engine in (MySQL(), Postgres())}
"""The engines by the names that definitions give them."""


def engine_of(definition: Definition) -> Engine:
    """Return the engine of a dataset's source."""
    return ENGINES[definition.engine]


def engine_for(settings: SourceSettings) -> Engine:
    """Return the engine that these settings are for."""
    return ENGINES[settings.engine]
