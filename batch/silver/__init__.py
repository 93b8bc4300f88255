"""Silver: the newest valid version of every row, typed and checked by the rules of its table."""
