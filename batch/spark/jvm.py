"""Starts the Java process that runs Spark, and gives access to its classes."""

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
"""Spark always starts Java with this module, for machine learning; Java has no option that disables the warning."""
_LAST_LINES_S: Final = 5.0


def start_java(settings: Mapping[str, str]) -> None:
    """Start Java with these settings of Spark, unless this process has started it already.

    Java's standard error is passed on to that of this process, without the warning about the incubator module.

    Raises:
        PySparkRuntimeError: Java ended at once; its own message is on standard error.
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
    """Copy the lines of a pipe to standard error until the pipe is closed."""
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            if line.rstrip() != _INCUBATOR_WARNING:
                os.write(_ERROR_OUTPUT, line)


def java_class(spark: SparkSession, name: str) -> Any:
    """Return the Java class with this full name; call it to create an instance, or call its static methods.

    This is faster than attribute access (`jvm.org.apache...`), for which Py4J looks in every jar for a class with the
    name of each package.
    """
    return getattr(spark.sparkContext._jvm, name)
