"""How connections to PostgreSQL are opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import psycopg

from config.engines.base import CONNECT_TIMEOUT_S

DEFAULT_SCHEMA: Final = "public"
LOCK_WAIT_S: Final = 20


def opened_postgres(parameters: Mapping[str, Any], schema: str | None, *, autocommit: bool) -> Any:
    """Open a connection of the driver, in UTC and with a limit of waiting for locks."""
    choices = {
        "TimeZone": "UTC",
        "search_path": f'"{schema or DEFAULT_SCHEMA}"',
        "lock_timeout": f"{LOCK_WAIT_S}s",
        "standard_conforming_strings": "on",
        "DateStyle": "ISO",
        "extra_float_digits": "1",
    }
    return psycopg.connect(
        **parameters,
        options=" ".join(f"-c {name}={value}" for name, value in choices.items()),
        application_name="millrace",
        connect_timeout=CONNECT_TIMEOUT_S,
        autocommit=autocommit,
        prepare_threshold=None,  # prepared statements do not survive a connection pooler
    )
