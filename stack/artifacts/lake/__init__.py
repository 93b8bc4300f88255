"""Additions that Spark needs to write the lake: jars in fixed versions, and the lake's own Delta log store."""
