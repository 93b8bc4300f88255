"""A run over a dataset, whatever it does: its plan, its order, its lease, its record."""
