"""Bronze, the append-only layer: every version of every row as the source delivered it, with its origin."""

from batch.bronze.land import land, land_rows, land_window

__all__ = ["land", "land_rows", "land_window"]
