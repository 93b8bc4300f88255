"""Words of the pages for people."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with the noun that it counts, and with the verb if the words have it.

    Args:
        one: the words after 1.
        many: the words after any other number, if they are more than `one` and an s.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def server_of(part: str, server: str | None) -> str:
    """Return how a server is named for a person.

    Args:
        part: the component of a worker that needs it.
        server: what it is, such as Redis; None if the component does not say, as one of another version.
    """
    return f"the server of {part}" if server is None else f"{server} ({part})"
