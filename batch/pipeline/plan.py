"""The plan of a run: one step per table, in order, with the earlier steps that each step must wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from batch import bronze, gold
from batch.context import LayerResult, RunContext
from batch.errors import BatchError
from batch.gold.plan import GoldPlan
from batch.pipeline.runner import Step
from batch.silver import refine, replay
from batch.spark.session import Sessions
from batch.storage.retry import with_tries
from config.definition import Definition, Table

LAYERS: Final = ("bronze", "silver", "gold")

Work = Callable[[Any, RunContext], LayerResult]
"""A function that updates one table of a layer, given the table's definition (in Gold: its plan) and the context."""


def check_choice(definition: Definition, *, layer: str | None, table: str | None) -> None:
    """Check that the given table exists in the given layer, or in any layer if `layer` is None.

    Raises:
        BatchError: the table does not exist; the message lists the tables that do.
        DefinitionError: a SQL file of Gold is malformed.
    """
    known = {each: table_names(definition, each) for each in LAYERS if layer in (None, each)}
    if table is not None and not any(table in names for names in known.values()):
        listed = "; ".join(f"{each}: {', '.join(names) or 'none'}" for each, names in known.items())
        raise BatchError(f"dataset {definition.name} has no table {table!r}: use one of {listed}", layer=layer or "")


def table_names(definition: Definition, layer: str) -> list[str]:
    """Return the names of a layer's tables: Gold in build order, others as defined, Silver's history tables last."""
    if layer == "gold":
        return [plan.name for plan in gold.plans(definition)]
    histories = [table.history_name for table in definition.tables if table.history_name] if layer == "silver" else []
    return [table.name for table in definition.tables] + histories


def layer_of(definition: Definition, table: str) -> str:
    """Return the layer from which a table is read by default: Silver, or Gold if Silver has no such table."""
    check_choice(definition, layer=None, table=table)
    return "silver" if table in table_names(definition, "silver") else "gold"


def steps(context: RunContext, *, layer: str | None, table: str | None, sessions: Sessions | None = None) -> list[Step]:
    """Return the steps of one run, from Bronze to Gold; in Gold, dimensions come before facts.

    Args:
        layer, table: return only the steps of this layer or table; None: no restriction.
        sessions: Spark sessions for running steps in parallel; None: run steps one by one in the context's session.
    """
    definition = context.definition
    for each in definition.tables:
        if table is not None and table == each.history_name:
            table = each.name  # the step of a source table also writes its history table
    works: tuple[tuple[str, Work, Sequence[Table | GoldPlan]], ...] = (
        ("bronze", bronze.land, definition.tables),
        ("silver", replay.refined, refine.in_order(definition.tables)),
        ("gold", gold.build, gold.plans(definition)),
    )
    found = [_step(name, work, each, context, sessions) for name, work, subjects in works for each in subjects]
    return [step for step in found if layer in (None, step.layer) and table in (None, step.table)]


def _step(layer: str, work: Work, subject: Table | GoldPlan, context: RunContext, sessions: Sessions | None) -> Step:
    def tried(context: RunContext = context) -> LayerResult:
        return with_tries(lambda: work(subject, context), layer=layer, table=subject.name)

    reads = frozenset(_needed(layer, subject, context.definition))
    refers_to = frozenset(_dimensions(subject, context.definition)) if isinstance(subject, GoldPlan) else frozenset()
    if sessions is None:
        return Step(layer=layer, table=subject.name, work=tried, reads=reads, refers_to=refers_to)

    def tried_in_a_session() -> LayerResult:
        with sessions.one() as spark:
            return tried(replace(context, spark=spark))

    return Step(layer=layer, table=subject.name, work=tried_in_a_session, after=reads, reads=reads, refers_to=refers_to)


def _dimensions(fact: GoldPlan, definition: Definition) -> Iterator[str]:
    """Yield the names of the steps that write the dimensions to which a fact refers."""
    linked = {link.dimension for link in fact.links}
    for plan in gold.plans(definition):
        inferred_from = {table for table, _ in plan.inferred_from}
        if fact.kind == "fact" and plan.kind == "dimension" and (plan.name in linked or inferred_from & {*fact.tables}):
            yield f"gold/{plan.name}"


def _needed(layer: str, subject: Table | GoldPlan, definition: Definition) -> Iterator[str]:
    """Yield the names of the steps that write the tables which this step reads."""
    if isinstance(subject, GoldPlan):
        written_with = {each.history_name: each.name for each in definition.tables}
        yield from (f"silver/{written_with.get(name, name)}" for name in subject.tables)
        yield from (f"gold/{link.dimension}" for link in subject.links)
    elif layer == "silver":
        yield f"bronze/{subject.name}"
        yield from (f"silver/{name}" for name in refine.parents(subject))
