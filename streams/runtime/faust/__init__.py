"""Faust's own extension points, by which it carries batches: application, transport, tables."""
