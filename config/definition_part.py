"""The base of all parts of a dataset definition."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=64)]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of all parts of a definition, which are immutable and reject unknown fields."""
