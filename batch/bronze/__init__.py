"""Bronze: every version of every row as delivered, with its origin; rows are only appended, never changed."""

from batch.bronze.land import land, land_rows, land_window

__all__ = ["land", "land_rows", "land_window"]
