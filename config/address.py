"""Addresses of servers for messages, without the login that a URL can contain."""

from __future__ import annotations

from urllib.parse import urlsplit


def without_login(text: str) -> str:
    """Return the hosts in a setting; a text that is not a good URL is cut so that no part of a password remains."""
    words = " ".join(text.split())
    if "://" not in words:
        return words.rpartition("@")[2]
    try:
        parts = urlsplit(words)
    except ValueError:  # invalid host; the error message can contain the password
        return "(not a URL)"
    # An "@" after the host means that the password has a character such as "/", which ends the host too early.
    is_cut_early = "@" in words.partition(parts.netloc)[2]
    return "(not a URL)" if is_cut_early else parts.netloc.rpartition("@")[2]
