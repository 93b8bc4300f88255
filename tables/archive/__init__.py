"""The archive of raw changes: the rows of its objects, and the writing of these objects."""
