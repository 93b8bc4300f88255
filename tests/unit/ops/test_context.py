"""Goal: a command never asks servers of two places at once.

Method: settings as an operator would have them, beside a leftover local stack with other addresses.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from config.programs import PROGRAMS, SERVER_SETTINGS, names_of
from config.settings import KafkaSettings, RedisSettings
from config.settings_group import SettingsError
from ops import context
from ops.cli import main
from ops.context import server_addresses, settings_environment
from stack.errors import NoSuchStackError
from stack.local import Stack
from stack.ports import DEFAULT_PORTS
from stack.servers import SERVERS


@pytest.fixture(autouse=True)
def no_servers_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without servers, and stacks in a folder of this test."""
    for name in SERVER_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(context, "stack_folder", lambda name: tmp_path / name)


@pytest.fixture
def leftover(tmp_path: Path) -> dict[str, str]:
    """A local stack that once ran; its settings."""
    folder = tmp_path / "default"
    folder.mkdir()
    (folder / "stack.json").write_text(json.dumps({"ports": DEFAULT_PORTS, "servers": [*SERVERS]}))
    return Stack.at(folder).environment()


def arguments(name: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(name=name)


def test_with_one_server_in_the_environment_a_leftover_stack_adds_nothing(
    leftover: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "prod-kafka:9092")
    found = settings_environment(arguments())
    assert KafkaSettings.read(found).bootstrap == "prod-kafka:9092"
    assert not found.keys() & (leftover.keys() & SERVER_SETTINGS - {"KAFKA_BOOTSTRAP"})
    with pytest.raises(SettingsError, match="REDIS_URL: is not set"):
        RedisSettings.read(found)
    assert capsys.readouterr().err == "using the servers in the environment: kafka prod-kafka:9092\n"


def test_a_named_stack_takes_nothing_from_the_environment(
    leftover: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "prod-kafka:9092")
    monkeypatch.setenv("CONNECT_URL", "http://prod-connect:8083")
    monkeypatch.setenv("ORDER_PARTITIONS", "12")
    found = settings_environment(arguments("default"))
    assert {name: found[name] for name in leftover} == leftover
    assert found["ORDER_PARTITIONS"] == "12"


def test_without_any_server_set_the_default_stack_is_used_and_said_once(
    leftover: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments()
    assert settings_environment(given) is settings_environment(given)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"using the local stack default: kafka {leftover['KAFKA_BOOTSTRAP']}, ")
    assert "@" not in lines[0]


def test_without_servers_and_without_a_stack_nothing_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoSuchStackError, match="set KAFKA_BOOTSTRAP"):
        settings_environment(arguments())
    assert main(["lake", "show", "orders"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_stack_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "prod-kafka:9092")
    with pytest.raises(NoSuchStackError, match=r"'shop'.*millrace up --name shop"):
        settings_environment(arguments("shop"))


def test_each_program_gets_what_it_reads_and_no_more(leftover: dict[str, str], tmp_path: Path) -> None:
    given = {program: leftover.keys() & names_of(program) for program in PROGRAMS}
    assert given["orders"] == given["lookups"] == {"KAFKA_BOOTSTRAP", "REDIS_URL", "CONNECT_URL"}
    assert given["archive"] == {
        "KAFKA_BOOTSTRAP",
        "CONNECT_URL",
        "MINIO_ENDPOINT",
        "MINIO_ACCESS_KEY",
        "MINIO_SECRET_KEY",
    }
    assert "MINIO_SECRET_KEY" not in given["tools"]
    assert set.union(*map(set, given.values())) == leftover.keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONNECTOR_DATABASE_HOST", "prod-db"),
        ("CONNECTOR_DATABASE_PORT", "3307"),
        ("CONNECTOR_DATABASE_KIND", "mysql"),
        ("CONNECTOR_KAFKA_BOOTSTRAP", "prod-kafka:9092"),
    ],
)
def test_a_local_connect_is_not_pointed_at_the_servers_of_the_environment(
    name: str, value: str, leftover: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert name not in settings_environment(arguments("default"))
    assert not settings_environment(arguments()).keys() & leftover.keys()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REDIS_URL", "redis://:secret@host:6379"),
        ("REDIS_URL", "redis://user:secret/word@host:6379"),
        ("REDIS_URL", "redis://user:secret#word@host:6379"),
        ("REDIS_URL", "redis://user:secret?word@host:6379"),
        ("REDIS_URL", "redis://host:6379?password=secret@word"),
        ("REDIS_URL", "user:secret@host:6379"),
        ("REDIS_URL", "redis://:secret@[host"),
        ("REDIS_URL", "redis://:secret℀@host"),
        ("MYSQL_HOST", "user:secret@host"),
    ],
)
def test_no_part_of_a_password_is_said(name: str, text: str) -> None:
    said = server_addresses({name: text})
    assert not any(part in said for part in ("secret", "word", "user"))


def test_the_addresses_are_one_line() -> None:
    assert server_addresses({"KAFKA_BOOTSTRAP": "a:1,\nb:2", "REDIS_URL": "redis://[::1]:6379"}) == (
        "kafka a:1, b:2, redis [::1]:6379"
    )
