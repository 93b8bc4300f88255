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
from pathlib import Path

import pytest

from batch.__main__ import parser as batch_parser
from config import settings
from ops.cli import parser
from streams import orders as application
from streams.topics import catalogue

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```\n(.*?)```", README, re.S)
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


@pytest.mark.parametrize("command", sorted(set(commands("make "))))
def test_a_make_target_exists(command: str) -> None:
    target = shlex.split(command)[1]
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.M), command


@pytest.mark.parametrize("command", sorted(set(commands("python -m stack "))))
def test_a_stack_command_is_understood(command: str) -> None:
    parser().parse_args(shlex.split(command)[3:])


@pytest.mark.parametrize("command", sorted(set(commands("python -m batch "))))
def test_a_batch_command_is_understood(command: str) -> None:
    batch_parser().parse_args(shlex.split(command)[3:])


@pytest.mark.parametrize("command", sorted(set(commands("python examples/"))))
def test_an_example_is_there_and_takes_its_arguments(command: str) -> None:
    _, script, *arguments = shlex.split(command)
    help_text = subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True)
    positional = re.search(r"positional arguments:\n((?:  .*\n)+)", help_text.stdout)
    assert positional is not None
    assert len(re.findall(r"^  \S", positional[1], re.M)) == len(arguments)


@pytest.mark.parametrize("command", sorted(set(commands("faust "))))
def test_a_faust_command_names_the_application(command: str) -> None:
    words = shlex.split(command)
    if "-A" in words:
        assert words[words.index("-A") + 1] in ("streams.orders", "streams.lookups", "streams.archive")
        assert words[3] in ("worker", "tables")


@pytest.mark.parametrize("name", sorted({span for span in SPANS if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", span)}))
def test_a_setting_exists(name: str) -> None:
    assert name in setting_names()


@pytest.mark.parametrize(
    ("name", "default"), re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", README, re.M), ids=lambda value: str(value)
)
def test_a_default_is_the_codes(name: str, default: str) -> None:
    groups = (
        settings.KafkaSettings,
        settings.OrdersSettings,
        settings.ArchiveSettings,
        settings.SparkSettings,
        settings.LakeSettings,
        settings.BatchSettings,
    )
    items = [item for group in groups for item in dataclasses.fields(group) if item.metadata["names"][0] == name]
    assert items
    for item in items:
        assert item.metadata["parse"](default) == item.metadata["default"]


def test_the_topics_and_the_table_it_names_exist() -> None:
    topics = {spec.name for spec in catalogue(dataset="project_db", app_id="millrace-orders", order_partitions=4)}
    named = {span for span in SPANS if span.startswith(("mysql.", "order_")) or span == "dead_letters"}
    named -= {span for span in named if ":" in span}  # keys in Redis
    tables = set(application.app.tables)
    assert named
    assert named - tables - {"order_details"} <= topics, named - topics


def test_the_views_it_names_exist() -> None:
    declared = "".join((ROOT / path).read_text() for path in ("tables/views/orders.py", "streams/runtime/web/pages.py"))
    for path in set(re.findall(r"127\.0\.0\.1:6066(/[a-z/]+)", README)):
        assert f'"{path}' in declared, path


@pytest.mark.parametrize(
    "path",
    sorted({span for span in SPANS if re.fullmatch(r"\.?[a-z_]+(/[a-z_.]+)*(/|\.(py|md|yml|yaml|sql|example))", span)}),
)
def test_a_file_exists(path: str) -> None:
    generated = {".demo/proof.json"}
    shared = [ROOT / path, ROOT / "config/datasets/project_db" / path, ROOT / "streams" / path, ROOT / "tests" / path]
    assert path in generated or any(p.exists() for p in shared), path


def test_continuous_integration_runs_what_the_quick_start_says() -> None:
    assert "make demo" in BLOCKS[0]
    assert "make test" in BLOCKS[0]
    assert re.search(r"^exec make test$", (ROOT / ".ci" / "run").read_text(), re.M)


def test_no_figure_is_left_to_be_filled_in() -> None:
    assert not re.search(r"^(FIGURES|TODO|TBD)", README, re.M)
