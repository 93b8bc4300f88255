"""The log file `real-time.log`, which all workers of a folder share.

Workers on one machine write and rename the same file, so each record is written under a lock between processes
(concurrent-log-handler). A file that cannot be written costs a worker its log file, and nothing else.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import mode
from concurrent_log_handler import ConcurrentRotatingFileHandler

from config.log_files import FILE_BYTES, FILE_MODE, KEPT_FILES, line_formatter

NAME: Final = "real-time.log"

log = logging.getLogger(__name__)


class LogFile(mode.Service):
    """Writes all log records of this process to `real-time.log` too, from its start to its stop.

    Args:
        folder: folder of the file; it is created if it is missing. If it or the file cannot be written, the service
            warns once, and does nothing.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / NAME
        self._handler: logging.Handler | None = None

    async def on_start(self) -> None:
        """Open the file, and log to it."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE_MODE))
        except OSError as error:
            log.warning(
                "no log file: cannot write %s (%s); set LOG_DIR to a writable folder", self._path, error.strerror
            )
            return
        self._handler = ConcurrentRotatingFileHandler(
            str(self._path), maxBytes=FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8", chmod=FILE_MODE
        )
        self._handler.setFormatter(line_formatter())
        logging.getLogger().addHandler(self._handler)

    async def on_stop(self) -> None:
        """Stop logging to the file, and close it."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
            self._handler.close()
