"""Groups of settings: how environment variables become the fields of a frozen dataclass."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from config.errors import UsageError


class SettingsError(UsageError):
    """Settings are missing or wrong; the message has one line per setting."""


class _Required:
    """The type of the marker for a setting without a default."""


_REQUIRED = _Required()


def setting(
    name: str, parse: Callable[[str], Any], default: Any = _REQUIRED, *, secret: bool = False, unless: str = ""
) -> Any:
    """Declare a field that reads the environment variable `name`; with `a|b`, the first of the two that is set.

    If the variable `unless` is set, `b` does not count: it belongs to another server.
    """
    fields = {"names": name.split("|"), "parse": parse, "default": default, "unless": unless}
    return field(metadata=fields, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class SettingsGroup:
    """A group of settings that are read together."""

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the group from `environment`, by default from this process's environment.

        Raises:
            SettingsError: one line per setting that is missing or wrong.
        """
        source = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        faults: list[str] = []
        for item in dataclasses.fields(cls):
            names, default = item.metadata["names"], item.metadata["default"]
            if source.get(item.metadata["unless"], "") != "":
                names = names[:1]
            name = next((n for n in names if source.get(n, "") != ""), names[0])
            raw = source.get(name, "")
            if raw == "" and default is not _REQUIRED:
                values[item.name] = default
            elif raw == "":
                faults.append(f"{name}: is not set (`millrace env` prints the settings of local servers)")
            else:
                try:
                    values[item.name] = item.metadata["parse"](raw)
                except ValueError as error:
                    is_shown = item.repr and "@" not in raw  # what is before the "@" of an address can be a login
                    faults.append(f"{name}: {error}" + (f", not {raw!r}" if is_shown else ""))
        if faults:
            raise SettingsError("\n".join(faults))
        return cls(**values)


def read_groups(groups: Iterable[type[Any]], environment: Mapping[str, str] | None = None) -> list[Any]:
    """Read groups of settings from `environment`, by default from this process's environment.

    Raises:
        SettingsError: one line per setting that is missing or wrong, even if several groups have it.
    """
    found: list[Any] = []
    faults: list[str] = []
    for group in groups:
        try:
            found.append(group.read(environment))
        except SettingsError as error:
            faults += [line for line in str(error).splitlines() if line not in faults]
    if faults:
        raise SettingsError("\n".join(faults))
    return found


def read_or_exit(*groups: type[Any]) -> list[Any]:
    """Read groups of settings, or exit with code 2 and one line per missing or wrong setting."""
    try:
        return read_groups(groups)
    except SettingsError as error:
        for fault in str(error).splitlines():
            print(f"cannot start: {fault}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
