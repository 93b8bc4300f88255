"""Benchmark that compares the lake with simpler pipelines, which build the same Gold tables from the same database."""
