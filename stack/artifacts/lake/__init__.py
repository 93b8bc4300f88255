"""Additions Spark needs to write the lake: jars in exact versions, and the lake's own log store."""
