"""Goal: what the README names exists, and its two commands are what continuous integration runs.

Method: the README's code spans and blocks are taken apart; every command is parsed by the parser of its program, every
name is looked up where the code declares it.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pytest import Subtests  # noqa: PT013

from batch.__main__ import parser as batch_parser
from config import settings
from demo import command as demo
from ops.cli import parser
from streams import orders as application
from streams.topics import catalogue

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```\n(.*?)```", README, re.S)
GROUPS = (
    settings.KafkaSettings,
    settings.OrdersSettings,
    settings.ArchiveSettings,
    settings.SparkSettings,
    settings.LakeSettings,
    settings.BatchSettings,
)
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.S))


def commands(program: str) -> list[str]:
    """Every command line of a program, without comment and without a second choice."""
    lines = [line for block in BLOCKS for line in block.splitlines()] + SPANS
    found = [re.search(rf"(?:^|\$\(|or: ){re.escape(program)}[^#\[…)\"]*", line) for line in lines]
    return [match.group().lstrip("$(").removeprefix("or: ").strip() for match in found if match]


def setting_names() -> set[str]:
    """Every name that `config/settings.py` reads."""
    groups = [g for g in vars(settings).values() if isinstance(g, type) and dataclasses.is_dataclass(g)]
    return {name for group in groups for item in dataclasses.fields(group) for name in item.metadata["names"]}


def assert_example_takes(command: str) -> None:
    """The example is there, and its help names as many arguments as the command has."""
    _, script, *arguments = shlex.split(command)
    help_text = subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True)
    positional = re.search(r"positional arguments:\n((?:  .*\n)+)", help_text.stdout)
    assert positional is not None
    assert len(re.findall(r"^  \S", positional[1], re.M)) == len(arguments)


def assert_faust_knows(command: str) -> None:
    """It names an application, and a command of Faust that the applications have."""
    words = shlex.split(command)
    if "-A" in words:
        assert words[words.index("-A") + 1] in ("streams.orders", "streams.lookups", "streams.archive")
        assert words[3] in ("worker", "tables")


def test_its_commands_are_understood_by_their_programs(subtests: Subtests) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    checks: dict[str, Callable[[str], object]] = {
        "make ": lambda command: targets.index(shlex.split(command)[1]),
        "python -m stack ": lambda command: parser(demo).parse_args(shlex.split(command)[3:]),
        "python -m batch ": lambda command: batch_parser().parse_args(shlex.split(command)[3:]),
        "python examples/": assert_example_takes,
        "faust ": assert_faust_knows,
    }
    for program, check in checks.items():
        found = sorted(set(commands(program)))
        assert found, program
        for command in found:
            with subtests.test(command=command):
                check(command)


def test_its_settings_exist_and_have_the_defaults_it_names(subtests: Subtests) -> None:
    named = {span for span in SPANS if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", span)}
    assert named - setting_names() == set()
    for name, default in re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", README, re.M):
        with subtests.test(name=name):
            items = [
                item for group in GROUPS for item in dataclasses.fields(group) if item.metadata["names"][0] == name
            ]
            assert items
            assert {item.metadata["parse"](default) == item.metadata["default"] for item in items} == {True}


def test_its_topics_tables_and_views_exist() -> None:
    topics = {spec.name for spec in catalogue(dataset="project_db", app_id="millrace-orders", order_partitions=4)}
    named = {span for span in SPANS if span.startswith(("mysql.", "order_")) or span == "dead_letters"}
    named -= {span for span in named if ":" in span}  # keys in Redis
    assert named
    assert named - topics - set(application.app.tables) - {"order_details"} == set()
    declared = "".join((ROOT / path).read_text() for path in ("tables/views/orders.py", "streams/runtime/web/pages.py"))
    views = set(re.findall(r"127\.0\.0\.1:6066(/[a-z/]+)", README))
    assert [path for path in sorted(views) if f'"{path}' not in declared] == []


def missing_files(text: str, *folders: str) -> list[str]:
    """Files and folders named in a text that are not in the repository, nor in one of these folders of it."""
    form = r"`(\.?[a-z_]+(?:/[a-z_.]+)*(?:/|\.(?:py|md|yml|yaml|sql|example)))`"
    named = set(re.findall(form, text)) - {".demo/proof.json"}  # which the demo makes
    return [path for path in sorted(named) if not any((ROOT / folder / path).exists() for folder in (".", *folders))]


def test_its_files_exist() -> None:
    assert missing_files(README, "config/datasets/project_db", "streams", "tests") == []


def test_the_files_of_the_architecture_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    assert missing_files(text, "streams", "batch", "ops", "stack", "tests") == []


def test_it_is_finished_and_its_quick_start_is_what_continuous_integration_runs() -> None:
    assert not re.search(r"^(FIGURES|TODO|TBD)", README, re.M)
    assert "make demo" in BLOCKS[0]
    assert "make test" in BLOCKS[0]
    assert re.search(r"^exec make test$", (ROOT / ".ci" / "run").read_text(), re.M)
