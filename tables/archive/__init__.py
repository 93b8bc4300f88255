"""The archive of raw changes: the rows of its objects, and how they are committed."""
