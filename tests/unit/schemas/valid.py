"""Holds records against a topic's schema file, as a consumer's validator would, and stricter: nothing undeclared."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from ops.schemas import FOLDER
from streams.schemas.contracts import PUBLISHED, file_name

_formats = FormatChecker(())


@_formats.checks("date-time", ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def schema_file(topic: str) -> dict[str, Any]:
    """The schema that is in the repository for the topic's present version."""
    content: dict[str, Any] = json.loads((FOLDER / file_name(topic, PUBLISHED[topic][1])).read_text())
    return content


def record_faults(topic: str, value: bytes) -> list[str]:
    """What is wrong with a record's value."""
    found = _validator(topic).iter_errors(json.loads(value))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


@cache
def _validator(topic: str) -> Draft202012Validator:
    return Draft202012Validator(closed(schema_file(topic)), format_checker=_formats)


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without room for fields that it does not declare."""
    schema = copy.deepcopy(schema)
    for shape in (schema, *schema["$defs"].values()):
        if "properties" in shape:
            shape["additionalProperties"] = False
    return schema
