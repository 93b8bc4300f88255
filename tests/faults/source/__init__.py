"""Faults of a PostgreSQL source: its server, its log, and the connector that reads it."""
