"""Runs of the batch jobs of a dataset: planning, scheduling, locking, manifests and status records."""
