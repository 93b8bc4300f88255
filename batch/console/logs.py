"""The logs of the lake's commands: one file per layer and one for everything, each limited by rotation.

logs/bronze_layer.log  logs/silver_layer.log  logs/gold_layer.log     events of the layer, errors in full
logs/batch.log                                                        events of all layers, and all other events
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from batch.errors import BatchError

LAYERS: Final = ("bronze", "silver", "gold")
FILE_BYTES: Final = 10 * 1024 * 1024
KEPT_FILES: Final = 5

_SPARK_ERRORS: Final = "SQLQueryContextLogger"
"""PySpark's logger that prints every query error to the console as JSON; the commands print such errors themselves."""


def layer_log(layer: str) -> logging.Logger:
    """Return the logger that writes to the layer's file."""
    return logging.getLogger(f"batch.{layer}")


def layer_file(folder: Path, layer: str) -> Path:
    """Return the path of the layer's log file."""
    return folder / f"{layer}_layer.log"


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Send log records to the files inside the block: those of `batch` only there, those of libraries to `batch.log`.

    Raises:
        BatchError: the folder cannot be written.
    """
    files = {"batch": folder / "batch.log"} | {f"batch.{layer}": layer_file(folder, layer) for layer in LAYERS}
    root = logging.getLogger("batch")
    level, propagate = root.level, root.propagate
    handlers: list[tuple[logging.Logger, logging.Handler]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in files.items():
            handlers.append((logging.getLogger(name), _handler(path)))
    except OSError as error:
        raise BatchError(f"cannot write {error.filename}: {error.strerror}; set LOG_DIR to another folder") from None
    # Py4J logs the end of Java to the root logger, with a traceback.
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


def _handler(path: Path) -> logging.Handler:
    handler = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    return handler
