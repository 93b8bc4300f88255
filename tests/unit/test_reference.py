"""Goal: the generated pages of `docs/reference/` say what the code says.

Method: each page is generated again and compared; the parts that take it from the code are tried on small examples.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import pytest

from config import parsing
from config.settings_group import setting
from tests.support.reference.commands import commands_page
from tests.support.reference.pages import PAGES, stale_pages
from tests.support.reference.settings import accepted, groups, meanings, settings_page


@dataclass(frozen=True, kw_only=True)
class Example:
    """One setting of each kind; no `SettingsGroup`, because other tests look for all of those."""

    name: str = setting("NAME", parsing.name)
    count: int = setting("COUNT", parsing.whole(1, 9), 4)
    share: float = setting("SHARE", parsing.number(0, 30 * 86_400), 1.0)
    mode: str = setting("MODE", parsing.one_of("wait", "go_on"), "wait")
    url: str = setting("URL", parsing.url("redis", "rediss"))


def program() -> argparse.ArgumentParser:
    """A program with a nested command."""
    root = argparse.ArgumentParser(prog="mill")
    group = root.add_subparsers().add_parser("grain").add_subparsers()
    command = group.add_parser("grind", description="grind grain; exit code 1 if a stone is missing")
    command.add_argument("sack", metavar="SACK", help="what to grind")
    command.add_argument("--stones", type=int, default=2, metavar="COUNT", help="stones to use (default: %(default)s)")
    command.add_argument("--kind", choices=("rye", "oat|bran"), required=True, help="kind of grain")
    command.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return root


def test_no_page_is_out_of_date() -> None:
    assert stale_pages() == [], "run `make reference`"


def test_every_group_of_settings_has_a_table() -> None:
    assert [group.__name__ for group in groups() if f"\n## {group.__name__}\n" not in PAGES["settings.md"]()] == []


def test_what_a_setting_accepts_is_what_its_parser_says() -> None:
    fields = Example.__dataclass_fields__
    assert {name: accepted(item) for name, item in fields.items()} == {
        "name": "only letters, digits, '.', '_' and '-'",
        "count": "a whole number from 1 to 9",
        "share": "a number from 0 to 2592000",
        "mode": "wait or go_on",
        "url": "a URL that begins with `redis://` or `rediss://`",
    }


def test_a_meaning_is_the_comment_right_above_its_setting() -> None:
    example = "# --- Kafka\n\n# Servers.\n# No default.\nA=\n# Copies.\nB=1\n"
    assert meanings(example) == {"A": "Servers.", "B": "Copies."}
    with pytest.raises(AssertionError, match="explain B"):
        meanings("# Servers.\nA=\nB=1\n")


def test_a_setting_that_is_not_explained_fails_the_page() -> None:
    with pytest.raises(KeyError):
        settings_page("")


def test_a_command_has_its_usage_defaults_and_choices() -> None:
    page = commands_page([program()])
    assert "### mill grain grind\n\nGrind grain; exit code 1 if a stone is missing.\n" in page
    assert "```\nmill grain grind --kind {rye,oat|bran} [options] SACK\n```" in page
    assert "| `--stones COUNT` | `2` | stones to use |" in page
    assert "| `--kind {rye,oat\\|bran}` |  | kind of grain |" in page
    assert "debug" not in page
