"""Reads and writes files of settings: a line `NAME=value` for each, as honcho and Docker Compose read them.

Values may be quoted as in a shell. Empty lines and lines that begin with `#` are ignored.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from config.errors import UsageError

_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def read_environment_file(path: Path) -> dict[str, str]:
    """Return the settings in a file.

    Raises:
        UsageError: the file cannot be read, a line is malformed, or a setting is given twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of other systems may write a byte order mark
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: cannot be read: the file is not UTF-8 text") from None
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, value = _parsed(line.strip(), f"{path}:{number}")
        if name in found:
            raise UsageError(f"{path}:{number}: {name} is set twice; the first time in line {lines[name]}")
        found[name], lines[name] = value, number
    return found


def _parsed(line: str, where: str) -> tuple[str, str]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise UsageError(f"{where}: not a setting: write NAME=value")
    try:
        parts = shlex.split(match[2], comments=True)
    except ValueError:
        raise UsageError(f"{where}: {match[1]}: a quotation mark is not closed") from None
    if "\0" in line:
        raise UsageError(f"{where}: {match[1]}: contains a zero byte")
    if len(parts) > 1:
        raise UsageError(f"{where}: {match[1]}: put the value in quotation marks, because it contains a space")
    return match[1], "".join(parts)


def format_settings(settings: Mapping[str, str], *, prefix: str = "") -> str:
    """Format settings as lines `NAME=value`, sorted by name, with values quoted for a shell where necessary."""
    return "".join(f"{prefix}{name}={shlex.quote(value)}\n" for name, value in sorted(settings.items()))


def write_environment_file(path: Path, settings: Mapping[str, str]) -> None:
    """Write settings to a file that only its owner can read (mode 0600); an existing file is replaced at once.

    Raises:
        UsageError: the file cannot be written, or the path is something else than a file.
    """
    try:
        if path.exists() and not path.is_file():  # replacing a device such as /dev/null would break other programs
            raise UsageError(f"{path}: cannot be written: it is not a file")
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(format_settings(settings))
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)  # it contains passwords
            raise
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
