"""Starts the Java process in which Spark runs, and gives access to its classes."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, Final

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

_ERROR_OUTPUT: Final = 2
_INCUBATOR_WARNING: Final = b"WARNING: Using incubator modules: jdk.incubator.vector"
"""Java prints this warning because Spark always enables an incubator module; no Java option disables the warning."""
_LAST_LINES_S: Final = 5.0


def start_java(settings: Mapping[str, str]) -> None:
    """Start Java with the given Spark settings, unless this process has already started it.

    Java's standard error is copied to the standard error of this process, without the warning about incubator modules.

    Raises:
        PySparkRuntimeError: Java exited during startup; its own message is on standard error.
    """
    if SparkContext._gateway is not None:
        return
    reader, writer = os.pipe()
    relay = threading.Thread(target=_relay, args=(reader,), name="java-stderr", daemon=True)
    relay.start()
    try:
        configuration = SparkConf(loadDefaults=False).setAll(list(settings.items()))
        gateway = launch_gateway(configuration, {"stderr": writer})  # type: ignore[no-untyped-call]
    except BaseException:
        os.close(writer)
        relay.join(_LAST_LINES_S)
        raise
    os.close(writer)
    SparkContext._ensure_initialized(gateway=gateway)


def _relay(reader: int) -> None:
    """Copy lines from a pipe to standard error, except the incubator warning, until the pipe is closed."""
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            if line.rstrip() != _INCUBATOR_WARNING:
                os.write(_ERROR_OUTPUT, line)


def java_class(spark: SparkSession, name: str) -> Any:
    """Return the Java class with the given fully qualified name, for creating instances or calling static methods.

    This is faster than attribute access (`jvm.org.apache...`), for which Py4J searches all jars for a class named
    `org`, then `org.apache`, and so on.
    """
    return getattr(spark.sparkContext._jvm, name)
