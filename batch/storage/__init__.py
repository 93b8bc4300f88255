"""Access to the source database, paths and small objects of the lake, and the canonical text form of values."""
