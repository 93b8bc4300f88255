"""Benchmarks: the cost of the product, measured against the systems people would use instead."""
