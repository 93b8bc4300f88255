"""Proof for the pure part: changes, positions, folds."""
