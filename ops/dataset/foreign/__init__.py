"""Draft a dataset's folder from an existing database: read its schema and write a definition for it."""
