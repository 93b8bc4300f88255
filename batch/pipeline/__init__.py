"""A run over a dataset: its plan, its schedule, its lease, its manifest and its record."""
