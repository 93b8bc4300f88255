"""Benchmarks that measure the cost of Millrace, and compare it with systems that people would use instead."""
