"""`millrace schemas`: generate the JSON Schemas in `streams/schemas` from the Python types of the records."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from config.json_output import add_json_option, print_json
from stack.errors import StackError
from stack.site import REPOSITORY
from streams.schemas.contracts import PUBLISHED, breaks, file_name, schema_of

FOLDER: Final = REPOSITORY / "streams" / "schemas"


def add_commands(subparsers: Any) -> None:
    """Add `schemas write` and `schemas check`."""
    parser = subparsers.add_parser("schemas", help="write or check the JSON Schemas of the output topics")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, run, text in (
        ("write", run_write, "write the schema files; fail if a change needs a new version"),
        ("check", run_check, "compare the schema files with the record types; exit code 1 if they differ"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(run=run)
        if name == "check":
            add_json_option(action, faults="the differences, as one text each")


def run_write(_arguments: argparse.Namespace) -> int:
    """Write the schema files, and print the paths of those that changed."""
    for path in write_schemas(FOLDER):
        print(f"wrote {path}")
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Print the differences between the schema files and the record types; return 1 if there are any."""
    faults = schema_faults(FOLDER)
    if arguments.json:
        return print_json(arguments, exit_code=1 if faults else 0, faults=faults)
    print("\n".join(faults) or "all schema files match the record types")
    return 1 if faults else 0


def write_schemas(folder: Path) -> list[Path]:
    """Write the schema of each topic's current version; return the files that changed.

    Raises:
        StackError: a change is incompatible: consumers that use the existing version could not read new records.
    """
    breaking = [line for topic in PUBLISHED for line in _breaks(folder, topic)]
    if breaking:
        raise StackError(
            "\n".join([*breaking, "incompatible changes need a new version, set in streams/schemas/contracts.py"])
        )
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for topic in PUBLISHED:
        path, text = _path(folder, topic), _text(topic)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            changed.append(path)
    return changed


def schema_faults(folder: Path) -> list[str]:
    """List the differences between the schema files and the record types, one line each."""
    faults = [line for topic in PUBLISHED for line in _breaks(folder, topic)]
    for topic, (_, version) in PUBLISHED.items():
        names = [file_name(topic, earlier) for earlier in range(1, version + 1)]
        faults += [f"{name}: is missing" for name in names if not (folder / name).exists()]
        path = _path(folder, topic)
        if path.exists() and path.read_text("utf-8") != _text(topic):
            faults.append(f"{path.name}: differs from the record type: run `millrace schemas write`")
    return faults


def _breaks(folder: Path, topic: str) -> list[str]:
    path = _path(folder, topic)
    if not path.exists():
        return []
    return [f"{path.name}: {line}" for line in breaks(json.loads(path.read_text("utf-8")), schema_of(topic))]


def _path(folder: Path, topic: str) -> Path:
    return folder / file_name(topic, PUBLISHED[topic][1])


def _text(topic: str) -> str:
    return json.dumps(schema_of(topic), indent=2, ensure_ascii=False) + "\n"
