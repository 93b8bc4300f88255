"""Benchmark of the lake: compare it with simpler pipelines that build the same Gold from the same database."""
