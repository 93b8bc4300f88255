"""A dataset's folder from a database that is there already: its schema is read, and a definition drafted from it."""
