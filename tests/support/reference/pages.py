"""The generated pages of `docs/reference/` and files of `config/`, each with the function that returns its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from batch.__main__ import parser as batch_parser
from ops.cli import MODULES
from ops.cli import parser as millrace_parser
from tests.support.reference.commands import commands_page
from tests.support.reference.lake import lake_page
from tests.support.reference.monitoring import dashboard_file, rules_file
from tests.support.reference.settings import settings_page
from tests.support.reference.topics import topics_page

ROOT: Final = Path(__file__).parents[3]
FOLDER: Final = ROOT / "docs" / "reference"


def _settings() -> str:
    return settings_page((ROOT / ".env.example").read_text("utf-8"))


def _commands() -> str:
    # The front door passes the arguments of `lake` on to the lake's own parser.
    front = [name for name in MODULES if name != "lake"]
    return commands_page([millrace_parser(*front), batch_parser("millrace lake")])


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings.md": _settings,
    "catalogue.md": topics_page,
    "cli.md": _commands,
    "lake-tables.md": lake_page,
    "config/prometheus/rules.yaml": rules_file,
    "config/grafana/millrace.json": dashboard_file,
}


def path_of(name: str) -> Path:
    """Return the path of a page; a name without a folder is in `docs/reference/`."""
    return ROOT / name if "/" in name else FOLDER / name


def stale_pages() -> list[str]:
    """Return the names of the pages that are missing or differ from the code."""
    paths = {name: path_of(name) for name in PAGES}
    return [name for name, path in paths.items() if not path.exists() or path.read_text("utf-8") != PAGES[name]()]
