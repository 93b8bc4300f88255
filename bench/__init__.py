"""Benchmarks: measure the cost of Millrace, and compare it with systems people would use instead."""
