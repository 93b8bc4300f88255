"""The warehouse in PostgreSQL: its tables, and the transactions that write them together with their offsets."""
