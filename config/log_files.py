"""What the log files of workers and lake commands have in common: form of a line, size, number of older files kept."""

from __future__ import annotations

import logging
import time
from typing import Final

FILE_BYTES: Final = 10 * 1024 * 1024
"""Size at which a log file is renamed, and a new one begun."""

KEPT_FILES: Final = 5
"""Number of older files kept, as `name.log.1` to `name.log.5`."""

FILE_MODE: Final = 0o600
"""Access of a log file: its owner alone, because errors can contain values of rows."""


def line_formatter() -> logging.Formatter:
    """Return the formatter of a log file: time in UTC with milliseconds, level, logger, message."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    return formatter
