"""Loads the plans of a dataset's Gold tables: parses the SQL files, applies SCD types, and checks references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from batch.gold.header import parsed
from batch.gold.plan import GoldPlan, history_of
from config.dataset import DefinitionError
from config.definition import Definition
from config.lake_names import in_lake

FOLDER: Final = "gold"


def plans(definition: Definition) -> list[GoldPlan]:
    """Return the plans of the dataset's Gold tables in build order: dimensions, then facts.

    Raises:
        DefinitionError: a SQL file is malformed; the message has one line per fault, with the file and the header key.
    """
    definition = in_lake(definition)
    paths = sorted(Path(definition.folder, FOLDER).glob("*.sql"))
    found: list[GoldPlan] = []
    wrong: list[str] = []
    for path in paths:
        try:
            found.append(parsed(path.read_text(), path.stem, definition))
        except ValueError as error:
            wrong += [f"{definition.name}/{FOLDER}/{path.name}: {line}" for line in str(error).splitlines()]
    names = [plan.name for plan in found]
    dimensions = {plan.name: plan for plan in found if plan.kind == "dimension"}
    for plan in found:
        place = f"{definition.name}/{FOLDER}/{plan.name}.sql"
        wrong += [f"{place}: {fault}" for fault in _neighbour_faults(plan, dimensions, names)]
    if wrong:
        raise DefinitionError("\n".join(wrong))
    found = [each for plan in found for each in with_history(_linked(plan, dimensions), definition)]
    return sorted(found, key=lambda plan: plan.kind != "dimension")


def with_history(plan: GoldPlan, definition: Definition) -> list[GoldPlan]:
    """Return the plans that the SCD type of a table requires: two for type 4, otherwise one.

    Type 1 is a table of current rows, type 2 a table of row versions, and type 4 both, as two tables.
    """
    if plan.scd == 1:
        return [plan]
    [concern] = plan.depends_on
    source = definition.table(concern.table)
    assert source.history_name is not None
    versions = replace(
        plan,
        depends_on=(replace(concern, table=source.history_name),),
        versions_of=source.name,
        fingerprint=f"{plan.fingerprint}, scd {plan.scd}",
    )
    if plan.scd == 2:
        return [versions]
    text = f"All versions of the rows of {plan.name}."
    return [plan, replace(versions, name=history_of(plan.name), inferred_from=(), description=text)]


def _linked(plan: GoldPlan, dimensions: Mapping[str, GoldPlan]) -> GoldPlan:
    """Return the plan with only those links that refer to a dimension with row versions (SCD type 2)."""
    links = tuple(link for link in plan.links if dimensions[link.dimension].scd == 2)
    marks = "".join(f", {link.dimension}" for link in links)
    return replace(plan, links=links, fingerprint=f"{plan.fingerprint}{marks}")


def _neighbour_faults(plan: GoldPlan, dimensions: Mapping[str, GoldPlan], names: list[str]) -> Iterator[str]:
    for link in plan.links:
        dimension = dimensions.get(link.dimension)
        if dimension is None:
            yield f"dimensions: unknown dimension {link.dimension!r} (known: {', '.join(dimensions)})"
        elif dimension.key != (link.key,):
            yield f"dimensions: the key of {link.dimension!r} is {dimension.key[0]!r}, not {link.key!r}"
    if plan.scd == 4 and history_of(plan.name) in names:
        yield f"scd: type 4 adds a table {history_of(plan.name)!r}, but another file already defines this table"
