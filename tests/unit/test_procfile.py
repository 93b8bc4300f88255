"""Goal: `honcho start` runs the workers so that none gets in another's way, and keeps them running.

Method: the Procfile is read as honcho reads it; commands are parsed by the programs that they call.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from honcho.environ import Procfile, parse_procfile

from config.settings import environment_with
from ops.restarter import parse_command_line
from tests.unit.compose import APPLICATIONS, REPOSITORY, SERVICES, WATCH

PROCFILE: Procfile = parse_procfile((REPOSITORY / "Procfile").read_text())
COMMANDS = {name: shlex.split(line) for name, line in PROCFILE.processes.items()}


def worker_command(name: str) -> list[str]:
    """What runs under the restarter."""
    variable, execute, *restarter = COMMANDS[name]
    assert (variable, execute) == ("PYTHONUNBUFFERED=1", "exec")
    assert restarter[:3] == ["python", "-m", "ops.restarter"]
    return parse_command_line(restarter[3:])[1]


def test_every_line_that_is_no_comment_is_a_process() -> None:
    lines = [line for line in (REPOSITORY / "Procfile").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == len(COMMANDS)
    assert COMMANDS.keys() == {*APPLICATIONS, WATCH}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_worker_runs_under_the_restarter(name: str) -> None:
    assert worker_command(name)[:-1] == ["faust", "-A", APPLICATIONS[name], "worker", "--web-port"]


def test_the_watch_runs_under_the_restarter_as_in_its_container() -> None:
    in_container = [word.replace("0.0.0.0", "127.0.0.1") for word in SERVICES[WATCH]["command"]]  # noqa: S104
    assert worker_command(WATCH) == in_container


def test_ports_differ_and_are_those_published_by_the_containers() -> None:
    ports = {name: worker_command(name)[-1] for name in APPLICATIONS}
    assert len(set(ports.values())) == len(ports)
    assert ports == {name: SERVICES[name]["ports"][0].split(":")[1] for name in APPLICATIONS}


def test_the_data_folders_of_the_workers_differ(tmp_path: Path) -> None:
    folders = set()
    for name, application in APPLICATIONS.items():
        port = worker_command(name)[-1]
        program = f"from {application} import app; print(app.conf.datadir)"
        told = environment_with({"WEB_PORT": port, "STATE_DIR": str(tmp_path)})
        folders.add(subprocess.run([sys.executable, "-c", program], env=told, capture_output=True, check=True).stdout)
    assert len(folders) == len(APPLICATIONS)


def test_the_worker_command_is_one_that_faust_knows() -> None:
    faust, *arguments = worker_command(next(iter(COMMANDS)))
    result = subprocess.run([sys.executable, "-m", faust, *arguments, "--help"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--web-port" in result.stdout
