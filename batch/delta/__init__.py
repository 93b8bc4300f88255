"""Reads and writes Delta tables with Spark or, for small numbers of rows, in-process with delta-rs."""
