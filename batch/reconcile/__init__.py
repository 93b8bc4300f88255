"""Compares the lake and the stream with the source database, and repairs rows of the lake that differ."""
