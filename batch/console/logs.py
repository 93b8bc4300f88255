"""Log files of the batch commands: one per layer and one for everything, all rotated by size.

logs/bronze_layer.log  logs/silver_layer.log  logs/gold_layer.log     records of one layer, errors with tracebacks
logs/batch.log                                                        all records: those of every layer and all others
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

from batch.errors import BatchError
from config.log_files import FILE_BYTES, FILE_MODE, KEPT_FILES, line_formatter

LAYERS: Final = ("bronze", "silver", "gold")

_SPARK_ERRORS: Final = "SQLQueryContextLogger"
"""PySpark logger that prints query errors as JSON; disabled because the commands print these errors themselves."""


def layer_log(layer: str) -> logging.Logger:
    """Return the logger of a layer; inside `logged`, its records go to the layer's log file."""
    return logging.getLogger(f"batch.{layer}")


def layer_file(folder: Path, layer: str) -> Path:
    """Return the path of the log file of a layer."""
    return folder / f"{layer}_layer.log"


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Write log records to files in `folder` until the `with` block ends.

    All records go to `batch.log`. Records of `batch` loggers are not passed on to the root logger's other handlers.

    Raises:
        BatchError: the log folder or a log file cannot be written.
    """
    files = {"batch": folder / "batch.log"} | {f"batch.{layer}": layer_file(folder, layer) for layer in LAYERS}
    root = logging.getLogger("batch")
    level, propagate = root.level, root.propagate
    handlers: list[tuple[logging.Logger, logging.Handler]] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, path in files.items():
            handlers.append((logging.getLogger(name), _handler(path)))
    except OSError as error:
        raise BatchError(f"cannot write {error.filename}: {error.strerror}; set LOG_DIR to a writable folder") from None
    # Py4J logs to the root logger, with a traceback, when the Java process exits.
    handlers.append((logging.getLogger(), handlers[0][1]))
    for logger, handler in handlers:
        logger.addHandler(handler)
    root.setLevel(logging.INFO)
    root.propagate = False
    logging.getLogger(_SPARK_ERRORS).disabled = True
    try:
        yield
    finally:
        root.setLevel(level)
        root.propagate = propagate
        for logger, handler in handlers:
            logger.removeHandler(handler)
            handler.close()


class _PrivateFileHandler(RotatingFileHandler):
    """Creates log files that only their owner can read."""

    def _open(self) -> Any:
        opener = partial(os.open, mode=FILE_MODE)
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=opener)


def _handler(path: Path) -> logging.Handler:
    handler = _PrivateFileHandler(path, maxBytes=FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8")
    handler.setFormatter(line_formatter())
    return handler
