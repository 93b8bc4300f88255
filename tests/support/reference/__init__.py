"""Generator of the pages in `docs/reference/` that repeat what the code says: settings, topics, commands, tables."""
