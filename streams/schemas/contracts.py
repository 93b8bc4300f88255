"""JSON Schemas of the output topics, and the changes allowed within one version.

A schema is generated from the struct of a topic's values; `streams/schemas` contains one file per topic and version.
Consumers of a version must keep working as long as the version exists. So a version may get additional fields, and the
range of a field may shrink (a tighter bound; null or an enumeration value that no longer occurs). Any other change that
affects a consumer needs a new version: a removed or renamed field, another type, an additional enumeration value, a
field that may now be null, a wider bound. A change of meaning or unit needs a new version as well, but no checker can
detect it. Every version after the first is published to a separate topic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from streams.model.published import AmendedOrder, CompleteOrder, IncompleteOrder
from streams.topics import ORDER_AMENDED, ORDER_FINAL, ORDER_INCOMPLETE

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
PUBLISHED: Final[Mapping[str, tuple[type[msgspec.Struct], int]]] = {
    ORDER_FINAL: (CompleteOrder, 1),
    ORDER_AMENDED: (AmendedOrder, 1),
    ORDER_INCOMPLETE: (IncompleteOrder, 1),
}
"""Struct of each topic's values, and the current version of the topic's schema."""

Schema = dict[str, Any]

_SAYS_NOTHING_ABOUT_VALUES: Final = {"$id", "$schema", "$defs", "title", "description", "default", "examples"}
_LOWEST: Final = {"minimum", "exclusiveMinimum", "minLength", "minItems"}
_HIGHEST: Final = {"maximum", "exclusiveMaximum", "maxLength", "maxItems"}
_COMPARED: Final = {"type", "enum", "anyOf", "properties", "required", "items", *_LOWEST, *_HIGHEST}


def file_name(topic: str, version: int) -> str:
    """Return the name of the file that contains this version of a topic's schema."""
    return f"{topic}.v{version}.json"


def schema_of(topic: str) -> Schema:
    """Return the JSON Schema of a topic's values in the current version; every field is required."""
    struct, version = PUBLISHED[topic]
    (root,), shapes = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    for shape in shapes.values():
        _plainly(shape)
    body = shapes.pop(root["$ref"].rpartition("/")[2])
    body["description"] += " Integers have up to 64 bits. Ignore unknown fields, because fields may be added."
    return {"$schema": DIALECT, "$id": f"urn:millrace:{topic}:{version}", **body, "$defs": shapes}


def _plainly(shape: Schema) -> None:
    """Join the schema's description into one line, and make all fields required, because the encoder writes all."""
    if "description" in shape:
        shape["description"] = " ".join(shape["description"].split())
    if "properties" in shape:
        shape["required"] = list(shape["properties"])
        for field in shape["properties"].values():
            field.pop("default", None)


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return the differences that can break a consumer of `old` when it reads records of `new`, as "field: reason"."""
    return list(_breaks(old, new, old, new, ""))


def _breaks(old: Schema, new: Schema, old_root: Schema, new_root: Schema, place: str) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    if "anyOf" in old or "anyOf" in new:
        for choice in new.get("anyOf", [new]):
            known = old.get("anyOf", [old])
            if all(any(_breaks(other, choice, old_root, new_root, place)) for other in known):
                yield f"{place or 'value'}: may now be {_kind(_resolved(choice, new_root))}"
        return
    if old.get("type") != new.get("type"):
        yield f"{place or 'value'}: was {_kind(old)}, is now {_kind(new)}"
        return
    yield from _bound_breaks(old, new, place or "value")
    required = new.get("required", [])
    for name, field in old.get("properties", {}).items():
        inner = f"{place}.{name}".lstrip(".")
        if name not in new.get("properties", {}):
            yield f"{inner}: was removed"
            continue
        if name in old.get("required", []) and name not in required:
            yield f"{inner}: may now be missing"
        yield from _breaks(field, new["properties"][name], old_root, new_root, inner)
    if "items" in old:
        yield from _breaks(old["items"], new.get("items", {}), old_root, new_root, f"{place}[]")


def _bound_breaks(old: Schema, new: Schema, place: str) -> Iterator[str]:
    added = [word for word in new.get("enum", []) if word not in old.get("enum", [])]
    if "enum" in old and ("enum" not in new or added):
        yield f"{place}: has the new values {added}" if added else f"{place}: may now be any text"
    for name in sorted(_LOWEST & old.keys()):
        if new.get(name, float("-inf")) < old[name]:
            yield f"{place}: {name} was {old[name]}, is now {new.get(name, 'removed')}"
    for name in sorted(_HIGHEST & old.keys()):
        if new.get(name, float("inf")) > old[name]:
            yield f"{place}: {name} was {old[name]}, is now {new.get(name, 'removed')}"
    for name in sorted(old.keys() - _COMPARED - _SAYS_NOTHING_ABOUT_VALUES):
        if new.get(name) != old[name]:
            yield f"{place}: {name} was {old[name]!r}, is now {repr(new[name]) if name in new else 'removed'}"


def _resolved(schema: Schema, root: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    found: Schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return found | {name: value for name, value in schema.items() if name != "$ref"}


def _kind(schema: Schema) -> str:
    return str(schema.get("title") or schema.get("type") or sorted(schema))
