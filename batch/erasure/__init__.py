"""Erases a person's data from the archive, Bronze, Silver, Gold and Redis, and reports what was found."""
