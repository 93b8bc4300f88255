"""Read dataset definitions: a dataset's tables, and how they are captured, stored, checked and generated.

A dataset is a folder that holds `schema.sql` and `definition.yaml`. The shipped folders are in `config/datasets`;
the setting `DATASETS_DIR` names another folder. Reading is strict: an unknown field, a wrong type or a reference to
something that does not exist raises a `DefinitionError` with the file and the key path.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from config.contradictions import faults
from config.definition import Definition
from config.errors import UsageError
from config.settings import DatasetSettings

SHIPPED = Path(__file__).parent / "datasets"
DEFINITION_FILE = "definition.yaml"
SCHEMA_FILE = "schema.sql"


class DefinitionError(Exception):
    """A dataset is unknown or its definition is wrong; the message names the file and the key path."""


def datasets_folder() -> Path:
    """Return the folder that contains one folder per dataset."""
    return DatasetSettings.read().datasets_folder or SHIPPED


def known_datasets() -> list[str]:
    """List the datasets that have a definition."""
    return sorted(path.parent.name for path in datasets_folder().glob(f"*/{DEFINITION_FILE}"))


def load_definition(name: str) -> Definition:
    """Read the definition of the dataset `name`.

    Raises:
        DefinitionError: the dataset is unknown (the message lists the known ones) or its definition is wrong.
    """
    known = known_datasets()
    if name not in known:
        listed = ", ".join(known) or f"none in {datasets_folder()}"
        raise DefinitionError(f"unknown dataset {name!r} (known: {listed})")
    path = datasets_folder() / name / DEFINITION_FILE
    definition = load_definition_file(path)
    if definition.name != name:
        raise DefinitionError(f"{_shown(path)}: name: must be the folder's name {name!r}, not {definition.name!r}")
    _require_own_topics(definition, [other for other in known if other != name])
    return definition


def definition_or_exit(name: str) -> Definition:
    """Read the definition of the dataset `name`, or exit with code 2 and the reason."""
    try:
        return load_definition(name)
    except DefinitionError as error:
        print(f"cannot start: {error}", file=sys.stderr)
        raise SystemExit(UsageError.exit_code) from None


def orders_or_exit(name: str) -> None:
    """Exit with code 2 and the reason if the dataset `name` declares no complete orders; an unknown one may have them.

    Such a dataset has no topics of orders, for which a worker would wait for ever.
    """
    if name in known_datasets() and not definition_or_exit(name).completes_orders:
        print(
            f"cannot start: dataset {name} declares no `completeness`, so it has no orders and no look-ups: "
            "run only `streams.archive`, or choose another dataset with DATASET",
            file=sys.stderr,
        )
        raise SystemExit(UsageError.exit_code)


def _require_own_topics(definition: Definition, others: Iterable[str]) -> None:
    """Raise a `DefinitionError` if another dataset has a topic of this one; wrong definitions are ignored."""
    own = _topics(definition)
    for name in others:
        try:
            shared = own & _topics(load_definition_file(datasets_folder() / name / DEFINITION_FILE))
        except DefinitionError:
            continue
        if shared:
            place = _shown(Path(definition.folder, DEFINITION_FILE))
            raise DefinitionError(
                f"{place}: topics: dataset {name!r} has the topic {min(shared)} too: give one of them another prefix"
            )


def _topics(definition: Definition) -> set[str]:
    return {f"{definition.topic_prefix}.{table.name}" for table in definition.tables}


def load_definition_file(path: Path | str) -> Definition:
    """Read a definition file from any folder; the dataset's schema is expected in the same folder.

    Raises:
        DefinitionError: the file can't be read, is not YAML, or breaks a rule; the message has one line per fault.
    """
    path = Path(path)
    document = _read_yaml(path)
    if not isinstance(document, dict):
        raise DefinitionError(f"{_shown(path)}: Expected a mapping, got {_kind(document)}")
    if "folder" in document:  # `folder` is derived from the path and must not be set in the file
        raise DefinitionError(f"{_shown(path)}: Object contains unknown field folder")
    try:
        definition = msgspec.convert({**document, "folder": str(path.parent)}, Definition)
    except msgspec.ValidationError as error:
        raise DefinitionError(f"{_shown(path)}: {_with_path_first(str(error))}") from None
    found = faults(definition)
    if found:
        raise DefinitionError("\n".join(f"{_shown(path)}: {fault}" for fault in found))
    return definition


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that rejects repeated keys, of which the standard loader silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.value in seen and isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
                )
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text("utf-8"), _StrictLoader)  # noqa: S506  (a SafeLoader)
    except OSError as error:
        raise DefinitionError(f"{_shown(path)}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{_shown(path)}: is not UTF-8 (byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise DefinitionError(f"{_shown(path)}: {line}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefinitionError(f"{_shown(path)}: is not valid YAML: {error}") from None


def _with_path_first(message: str) -> str:
    """Turn "Expected `array`, got `str` - at `$.tables[1].key`" into "tables[1].key: Expected array, got str"."""
    text, _, place = message.partition(" - at `")
    place = place.removesuffix("`").removeprefix("$").removeprefix(".")
    text = text.replace("`", "")
    return f"{place}: {text}" if place else text


def _kind(value: object) -> str:
    return "an empty file" if value is None else type(value).__name__


def _shown(path: Path) -> str:
    """Format a path for messages; a path inside the repository is shown relative to the repository's root."""
    try:
        return str(path.resolve().relative_to(SHIPPED.parent.parent))
    except ValueError:
        return str(path)
