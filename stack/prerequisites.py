"""Check the programs that must be installed by hand, and report all missing or outdated ones together."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from stack.errors import StackError

_ANSWER_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Prerequisite:
    """A required program.

    Attributes:
        command: command that prints the version.
        version: regular expression that finds the version in the output.
        lowest: lowest accepted version.
        remedy: instruction to install the program.
    """

    title: str
    command: tuple[str, ...]
    version: str
    lowest: tuple[int, ...]
    remedy: str


JAVA = Prerequisite(
    title="Java",
    command=("java", "-version"),
    version=r'version "(\d+)(?:\.(\d+))?',
    lowest=(17,),
    remedy="apt-get install openjdk-17-jre-headless",
)
JAVAC = Prerequisite(
    title="The Java compiler",
    command=("javac", "-version"),
    version=r"javac (\d+)(?:\.(\d+))?",
    lowest=(17,),
    remedy="apt-get install openjdk-17-jdk-headless",
)
MAVEN = Prerequisite(
    title="Maven",
    command=("mvn", "-B", "--version"),
    version=r"Apache Maven (\d+)\.(\d+)",
    lowest=(3, 6),
    remedy="apt-get install maven",
)
GO = Prerequisite(
    title="Go",
    command=("go", "version"),
    version=r"go(\d+)\.(\d+)",
    lowest=(1, 24),
    remedy="install it from https://go.dev/dl/",
)

_LOWEST_PYTHON = (3, 11)


def check_prerequisites(needed: Iterable[Prerequisite]) -> None:
    """Check that all required programs and the Python version are recent enough.

    Raises:
        StackError: programs are missing or too old; the message has one line for each.
    """
    faults = [fault for item in dict.fromkeys(needed) if (fault := fault_of(item))]
    if sys.version_info < _LOWEST_PYTHON:
        faults.insert(0, f"Python {_dotted(sys.version_info[:2])} is too old: use {_dotted(_LOWEST_PYTHON)} or later")
    if faults:
        raise StackError("\n".join(faults))


def fault_of(item: Prerequisite) -> str | None:
    """Explain why a required program is missing, too old or of unknown version; return None if it is usable."""
    needed = f"{item.title} {_dotted(item.lowest)} or later is needed: {item.remedy}"
    if shutil.which(item.command[0]) is None:
        return f"{item.command[0]} is not installed; {needed}"
    found = parse_version(item, _output(item.command))
    if found is None:
        return f"{' '.join(item.command)} does not report its version; {needed}"
    if found < item.lowest:
        return f"{item.title} {_dotted(found)} is too old; {needed}"
    return None


def parse_version(item: Prerequisite, text: str) -> tuple[int, ...] | None:
    """Parse the version from a program's output; return None if the output contains none."""
    match = re.search(item.version, text)
    return None if match is None else tuple(int(part) for part in match.groups() if part is not None)


def _output(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def _dotted(version: Iterable[int]) -> str:
    return ".".join(str(part) for part in version)
