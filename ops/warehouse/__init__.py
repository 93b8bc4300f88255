"""The commands `millrace warehouse …`: a dataset's tables in the warehouse, a PostgreSQL database."""
