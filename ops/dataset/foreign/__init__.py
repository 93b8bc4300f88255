"""Draft a dataset's folder from an existing database: read the schema and write a definition of the dataset."""
