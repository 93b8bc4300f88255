"""Removes the values of rows from errors of Spark, Java and delta-rs, which quote them.

Logs, manifests and Redis keep errors, and an erasure of a person's data does not search them. `log4j2.properties` does
the same for Spark's own log.
"""

from __future__ import annotations

import re
from typing import Final

_CONDITION: Final = re.compile(
    r"\[(?:([A-Z][A-Z0-9_.]+)\] (?:(?!SQLSTATE: ).)*SQLSTATE: (2[23][0-9A-Z]{3}|P0001)"
    r"|(INVALID_FORMAT[A-Z0-9_.]*)\] (?:(?!SQLSTATE: ).)*SQLSTATE: (42601))",
    re.DOTALL,
)
"""An error of Spark about a value: name of the condition, text, and SQLSTATE, whose class is that of data errors."""

_TYPE: Final = re.compile(
    r'"(?:STRING|BOOLEAN|TINYINT|SMALLINT|INT|BIGINT|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)|DATE|TIMESTAMP|BINARY)"'
)

_MESSAGE: Final = re.compile(r"((?:\w+\.)+\w+(?:Exception|Error)): (?:(?!\n\s+at ).)*(?=\n\s+at )", re.DOTALL)
"""The message of a Java exception before its stack: the cause of an error about a value quotes the value, too."""

_QUOTED: Final = re.compile(
    r"(\b(?:[Vv]alue|[Tt]ext|[Ss]tring|[Ii]nput):? )"
    r"(?:'.*?'(?= of the type| cannot| could not| to value|\W*$)|\S+(?= of the type| to type))",
    re.DOTALL | re.MULTILINE,
)
"""A value that an error without an SQLSTATE quotes, with the word before it."""


def without_values(text: str) -> str:
    """Return the text of an error without the values of rows; names of conditions and types stay."""
    found = _CONDITION.sub(_named, text)
    if found != text:
        found = _MESSAGE.sub(r"\1", found)
    return _QUOTED.sub(r"\1'…'", found)


def _named(found: re.Match[str]) -> str:
    types = ", ".join(dict.fromkeys(_TYPE.findall(found[0])))
    return f"[{found[1] or found[3]}] of a value{types and f' ({types})'}, SQLSTATE: {found[2] or found[4]}"
