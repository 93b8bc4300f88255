"""Parameters of a dataset's queries of Gold: values of its definition, which SQL names as `:name`.

Values are never pasted as they are: Spark and the source database get literals that are written from typed values.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, Literal

from msgspec import Meta

from config.definition_part import Identifier, Part

Value = int | Decimal | str | datetime.date

_QUOTED: Final = r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`[^`]*`|--[^\n]*|/\*.*?\*/"""
_NAMED: Final = re.compile(rf"(?P<quoted>{_QUOTED})|(?<![:\w]):(?P<name>[A-Za-z_]\w*)", re.DOTALL)
"""What is quoted or a comment in a query, or a parameter in it; `a::type` and `a:b` are none."""


class Parameter(Part, frozen=True):
    """A value that the queries of Gold name.

    Attributes:
        value: the value as text, such as `1500.00` or `2025-01-31`.
        description: what it decides, and its unit.
    """

    name: Identifier
    type: Literal["integer", "decimal", "string", "date"]
    value: str
    description: Annotated[str, Meta(min_length=1)]

    @property
    def typed(self) -> Value:
        """The value in its type.

        Raises:
            ValueError: the text is no value of the type.
        """
        try:
            return _TYPES[self.type](self.value)
        except (ValueError, InvalidOperation):
            raise ValueError(f"{self.value!r} is no value of type {self.type}") from None


def _decimal(text: str) -> Decimal:
    found = Decimal(text)
    if not found.is_finite() or "E" in str(found):
        raise ValueError
    return found


_TYPES: Final[Mapping[str, Callable[[str], Value]]] = {
    "integer": int,
    "decimal": _decimal,
    "string": str,
    "date": datetime.date.fromisoformat,
}


def parameter_faults(parameters: Sequence[Parameter]) -> Iterator[str]:
    """List the parameters that are defined twice, or whose values are of another type."""
    names = [parameter.name for parameter in parameters]
    yield from (f"parameters: {name!r} is defined twice" for name in sorted({n for n in names if names.count(n) > 1}))
    for index, parameter in enumerate(parameters):
        try:
            assert parameter.typed is not None
        except ValueError as error:
            yield f"parameters[{index}].value: {error}"


def named_in(query: str) -> list[str]:
    """Return the names of the parameters in a query, each once."""
    return list(dict.fromkeys(found["name"] for found in _NAMED.finditer(query) if found["name"]))


def filled(query: str, values: Mapping[str, Value], quoted: Callable[[str], str]) -> str:
    """Return a query with literals of the database in place of its parameters.

    Args:
        quoted: writes a text as a literal, such as `config.engines.base.Engine.exact_literal`.
    """
    return _NAMED.sub(lambda found: found[0] if not found["name"] else _literal(values[found["name"]], quoted), query)


def _literal(value: Value, quoted: Callable[[str], str]) -> str:
    match value:
        case str():
            return quoted(value)
        case datetime.date():
            return f"DATE '{value.isoformat()}'"
        case _:
            return f"({value})"
