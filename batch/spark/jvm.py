"""Classes of the Java that runs Spark."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession


def java_class(spark: SparkSession, name: str) -> Any:
    """The class of this full name: call it for an instance, or its static methods.

    Asked for part by part (`jvm.org.apache...`), Py4J looks in every jar for a class named like each package.
    """
    return getattr(spark.sparkContext._jvm, name)
