"""The source database, the paths and objects of the lake, and the canonical text of values."""
