"""Benchmark of the lake against the pipelines people would write instead: the same Gold from the same database."""
