"""Bronze: every version of every row as it was delivered, appended with where it came from; nothing is ever changed."""

from batch.bronze.land import land, land_rows, land_window

__all__ = ["land", "land_rows", "land_window"]
