"""Faults of the lake: its runs, their commits, and the object storage below them."""
