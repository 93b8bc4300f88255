"""Places and texts: the source database, the lake's paths and objects, and one text for each value."""
