"""Words of the pages for people."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with the noun that it counts, and with the verb if the words have it.

    Args:
        one: the words after 1.
        many: the words after any other number, if they are more than `one` and an s.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
