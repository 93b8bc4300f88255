"""Silver: the newest valid version of every source row, with typed columns, checked by quality rules."""
