"""Goal: one program leads to every command, answers at once, and names wrong usage in one line with exit code 2.

Method: the program runs in a process of its own where its speed, its imports or its files matter, else in this one.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ops import cli
from ops.cli import GROUPS, main, parser
from ops.worker import APPLICATIONS, worker_command

ROOT = Path(__file__).parents[3]
HEAVY = {"pyspark", "faust", "pyarrow", "confluent_kafka", "aiokafka", "requests", "redis", "minio", "mysql"}


def run(*arguments: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in `folder` with these settings only."""
    command, settings = [sys.executable, "-m", "ops.cli", *arguments], {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=60)


def run_copied(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program that was copied to `folder`, without the editable installation of this repository."""
    script = (
        "import runpy, sys\n"
        "sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in repr(finder)]\n"
        f"sys.argv = ['millrace', *{arguments!r}]\n"
        "runpy.run_module('ops.cli', run_name='__main__')"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    return subprocess.run(command, cwd=folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)


def test_the_help_names_every_command_by_purpose_and_all_exit_codes() -> None:
    text = run("--help").stdout
    places = [text.index(f"\n  {name} ") for commands in GROUPS.values() for name in commands]
    assert places == sorted(places)
    assert [text.index(f"\n{title}:") for title in GROUPS] == sorted(text.index(f"\n{title}:") for title in GROUPS)
    for code in (0, 1, 2, 3, 130):
        assert f"\n{code:>5}  " in text


def test_the_help_imports_no_library_of_the_servers() -> None:
    script = (
        "import sys\nfrom ops import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(ast.literal_eval(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", [name for commands in GROUPS.values() for name in commands])
def test_every_command_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["stauts"], "did you mean 'status'?"),
        (["no-such-thing"], "unknown command 'no-such-thing'"),
        (["lake", "rum"], "'rum'"),
        (["env", "--fo", "shell"], "--fo"),
        (["status", "--name", "../x"], "stack name"),
        (["status", "--name", "a", "--name", "b"], "argument --name: is given twice"),
        (["--env-file", "a", "--env-file", "b", "status"], "argument --env-file: is given twice"),
        (["lake", "show", "orders", "--limit", "1", "--limit", "2"], "argument --limit: is given twice"),
        (["locks", "release", "--order", "a", "--incarnation", "0" * 32], "--app"),
        (["status", "--name", "never-started"], "millrace up --name never-started"),
        (["worker", "orders", "--web-port", "0"], "invalid port '0'"),
        (["worker", "tables", "--web-port", "6066"], "'tables'"),
        (["--env-file", "/no/such/file", "status"], "/no/such/file: cannot be read"),
    ],
)
def test_wrong_usage_is_named_in_one_line(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    lines = capsys.readouterr().err.splitlines()
    assert (code, len(lines)) == (2, 1)
    assert named in lines[0]


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert run("--version").stdout == f"millrace {project['version']}\n"


def test_without_a_command_the_help_is_shown() -> None:
    done = run()
    assert done.returncode == 2
    assert "servers on this machine:" in done.stderr


def test_a_file_of_settings_counts_like_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("KAFKA_BOOTSTRAP=from-the-file:1\nREDIS_URL='redis://:secret@somewhere:2'\n")
    done = run("--env-file", str(file), "topics", "check", KAFKA_BOOTSTRAP="elsewhere:1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "KAFKA_BOOTSTRAP is also set in the environment" in done.stderr
    done = run("--env-file", str(file), "connector", "status")
    assert "kafka from-the-file:1, redis somewhere:2" in done.stderr
    assert "secret" not in done.stderr


def test_a_worker_is_started_as_by_faust() -> None:
    _, *command = worker_command("orders", 6066, "-l", "info")
    assert " ".join(command) == "-u -m faust -A streams.orders worker --web-port 6066 -l info"


def test_a_shell_completes_commands_and_options() -> None:
    script = run("completion", "bash").stdout
    assert all(text in script for text in ("dead-letters", "simulate", "--free-ports", "reconcile"))


def test_the_image_has_no_command_that_deletes_data(tmp_path: Path) -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    left_out = {path for rule in rules if not rule.startswith(("!", "*")) for path in ROOT.glob(rule)}
    assert left_out
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in left_out:
        (tmp_path / path.relative_to(ROOT)).unlink()
    for name in ("reset", "demo"):
        done = run_copied(name, folder=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "is not part of this installation" in done.stderr
    assert "simulate" not in run_copied("dataset", "--help", folder=tmp_path).stdout.partition("positional")[2]
    for name in ("topics", "connector", "schemas", "worker", "dead-letters", "locks", "dataset"):
        assert run_copied(name, "--help", folder=tmp_path).returncode == 0, name


def test_the_whole_parser_has_every_command() -> None:
    assert all(name in parser().format_help() for name in cli.MODULES)


@pytest.mark.parametrize("application", APPLICATIONS)
def test_a_worker_that_lacks_settings_is_not_started(application: str) -> None:
    done = run("worker", application, MYSQL_PORT="1", BATCH_MAX_RECORDS="x")
    assert done.returncode == 2
    assert done.stderr.count("KAFKA_BOOTSTRAP: is not set") == 1
    assert "BATCH_MAX_RECORDS: must be a whole number" in done.stderr
    assert "restarter" not in done.stderr


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--bogus"], "No such option: --bogus"),
        (["--loglevel", "loud"], "'loud' is not one of"),
        (["--web-port", "0"], "Invalid value for '--web-port'"),
        (["extra"], "extra argument (extra)"),
    ],
)
def test_wrong_options_of_faust_are_named_before_a_worker_is_started(
    options: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["worker", "orders", "--faust-options", *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("--faust-options: ")
    assert fault in line


@pytest.mark.parametrize("application", APPLICATIONS)
def test_faust_names_each_wrong_setting_in_one_line(application: str) -> None:
    command = [sys.executable, "-m", "faust", "-A", f"streams.{application}", "worker"]
    settings = {"PATH": "/usr/bin:/bin", "KAFKA_BOOTSTRAP": "nowhere", "SOURCE_EPOCH": "x"}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert all(line.startswith("cannot start: ") for line in lines)
    names = {line.split(": ")[1] for line in lines}
    assert {"KAFKA_BOOTSTRAP", "SOURCE_EPOCH"} <= names
    assert len(names) == len(lines) > 2


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["completion", "bash"]])
def test_a_reader_that_has_left_is_not_an_error_message(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "ops.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_output_that_cannot_be_written_is_said_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ops.cli", "completion", "bash"]
        done = subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"system: No space left on device\n")


def test_a_terminal_without_unicode_shows_the_help() -> None:
    done = run("up", "--help", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
