"""Erasure of one person's data from the archive, Bronze, Silver and Gold, with a report of every place."""
