"""Silver: the newest good version of every row, typed and checked by the rules of its table."""
