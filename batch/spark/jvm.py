"""The Java that runs Spark: how it is started, and its classes."""

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
"""Spark adds this module to every start, for machine learning; Java warns of it and has no option not to."""
_LAST_LINES_S: Final = 5.0


def start_java(settings: Mapping[str, str]) -> None:
    """Start Java with these settings of Spark, unless this process has started it already.

    The error output of Java goes to that of this process, without the warning about the incubator module.

    Raises:
        PySparkRuntimeError: Java ended at once; its own message is in the error output.
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
    """Pass on the lines of a pipe until it is closed."""
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            if line.rstrip() != _INCUBATOR_WARNING:
                os.write(_ERROR_OUTPUT, line)


def java_class(spark: SparkSession, name: str) -> Any:
    """Return the Java class of this full name; call it for an instance, or call its static methods.

    With attribute access (`jvm.org.apache...`), Py4J searches every jar for a class named like each package.
    """
    return getattr(spark.sparkContext._jvm, name)
