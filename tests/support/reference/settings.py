"""The page about the settings: names, types and defaults from `config/settings.py`, meanings from `.env.example`."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from config import database_settings, parsing, settings
from config.settings_group import SettingsGroup
from tests.support.reference.markdown import GENERATED, code, page, table

NO_VALUE = "\0"
"""A text that every parser with a rule rejects; the error message says what the rule is."""

INTRODUCTION = """\
All settings are environment variables, which only `config/settings.py` reads. A setting that is missing or invalid
stops the program at its start, with one line per setting. An empty variable counts as not set. Secrets are not printed
with their group. `.env.example` has all settings in a form to copy.

A program reads the groups that it needs. A setting that is in several groups has one meaning. Where two names are
given, the first one that is set counts."""


def groups() -> list[type[SettingsGroup]]:
    """Return all groups of settings in the order of the code, those of databases first."""
    members = [*vars(database_settings).values(), *vars(settings).values()]
    found = [each for each in members if inspect.isclass(each) and issubclass(each, SettingsGroup)]
    return [each for each in found if each is not SettingsGroup]


def meanings(example: str) -> dict[str, str]:
    """Return the meaning of each setting: the comment lines right above its assignment in `.env.example`.

    Raises:
        AssertionError: a setting has no comment.
    """
    found: dict[str, str] = {}
    comment: list[str] = []
    for line in example.splitlines():
        name, is_assignment, _ = line.partition("=")
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        elif is_assignment:
            assert comment, f".env.example does not explain {name}"
            found[name] = " ".join(comment).removesuffix(" No default.")
            comment = []
        else:
            comment = []
    return found


def only_for_compose(example: str) -> list[str]:
    """Return the names in `.env.example` that no group has: only `docker-compose.yml` reads them."""
    known = {name for group in groups() for item in dataclasses.fields(group) for name in item.metadata["names"]}
    return [name for name in meanings(example) if name not in known]


def settings_page(example: str) -> str:
    """Return the page, given the content of `.env.example`."""
    meaning = meanings(example)
    parts = ["# Settings", GENERATED, INTRODUCTION]
    for group in groups():
        parts += [f"## {group.__name__}", _docstring(group), _table_of(group, meaning)]
    rest = [(code(name), meaning[name]) for name in only_for_compose(example)]
    parts += ["## Only for containers", "`docker-compose.yml` reads these; no program of Millrace does."]
    return page(*parts, table(("setting", "meaning"), rest))


def _docstring(group: type[SettingsGroup]) -> str:
    text = inspect.cleandoc(group.__doc__ or "")
    inherited = [base.__name__ for base in group.__bases__ if base is not SettingsGroup]
    also = [f"It includes {_links(inherited)}."] if inherited else []
    return "\n\n".join([text, *also])


def _links(names: Sequence[str]) -> str:
    return ", ".join(f"[{name}](#{name.lower()})" for name in names)


def _table_of(group: type[SettingsGroup], meaning: Mapping[str, str]) -> str:
    own = [item for item in dataclasses.fields(group) if item.name in group.__annotations__]
    rows = [
        (
            " or ".join(code(name) for name in item.metadata["names"]),
            accepted(item),
            default_text(item.metadata["default"]),
            "" if item.repr else "yes",
            meaning[item.metadata["names"][0]],
        )
        for item in own
    ]
    return table(("setting", "accepts", "default", "secret", "meaning"), rows)


def accepted(item: dataclasses.Field[Any]) -> str:
    """Return what the parser of a setting accepts, in the words of its error message if it has one."""
    parse = item.metadata["parse"]
    if parse is parsing.text:
        return "a text"
    if parse is parsing.folder:
        return "the path of a folder"
    if parse is parsing.file:
        return "the path of a file"
    try:
        parse(NO_VALUE)
    except ValueError as error:
        text = str(error).removeprefix("must be ").replace("may only contain", "only")
        return re.sub(r"\S+://[^\s,]*", lambda match: code(match.group()), text)
    raise AssertionError(f"no description of the values that the parser of {item.name} accepts: add one")


def default_text(default: Any) -> str:
    """Return the text that sets a default; a setting without a default must be set."""
    if isinstance(default, bool):
        return code(str(default).lower())
    if isinstance(default, str | int | float | Path):
        return code(str(default))
    return "empty" if default is None else "must be set"
