"""Faults of the warehouse and the live figures: their workers, and the servers that they write to."""
