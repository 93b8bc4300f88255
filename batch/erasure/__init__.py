"""Erasure of one person's data from the archive, Bronze, Silver, Gold and Redis, with a report on every place."""
