"""Faust extensions for transactional micro-batches: application, transport, tables, partition supervisor."""
