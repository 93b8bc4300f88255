"""The dictionary as Markdown. No I/O, and no Spark session: types are those that definition and files state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from batch.gold import GoldPlan
from batch.gold.plan import added_columns
from batch.silver.rules import rule_name, spark_type
from config.definition import Definition, NotNull, Pattern, Range, Reference, Table, Unique, bound_text
from streams.topics import change_topic

Rule = NotNull | Range | Pattern | Reference | Unique

NO_MEANING: Final = "–"
INFERRED: Final = "is_inferred"

_HEAD: Final = """\
# Data dictionary of {name}

Made by `python -m batch dictionary` from `definition.yaml` and `gold/`: change those, then run it again.
"""
_LAYERS: Final = """\
Bronze has every version of every row as text, Silver the newest good version of each row, typed, Gold the dimensions
and facts. All times are UTC. Besides its own columns

- each table of Bronze has `_op` (c created, u updated, d deleted, r read), `_sequence` (sorts the versions of a row),
  `_committed_at` (when the source committed it), `_landed_at`, `_run_id`, `_row_hash`, `_origin` (where it was read),
  and `year`, `month`, `day` of landing;
- each table of Silver has `_sequence`, `_committed_at`, `_row_hash`, `_deleted` (a row that is no more, kept for a
  while) and `_run_id`.

A value that can't be read as its column's type, or a key without a value, keeps a row of any table out of Silver, in
the quarantine. The rules of each table come on top.
"""
_FEEDS: Final = {"changes": "its change topic", "jdbc": "the database itself"}
_HISTORY: Final = {
    1: "1: the newest state only",
    2: "2: a row for each state, with the time that it held",
    4: "4: the newest state, and former ones in a table of their own",
}
_ACTIONS: Final = {
    "warn": "the row is counted",
    "quarantine": "the row is kept out of Silver, in the quarantine",
    "fail": "the run of the table stops",
}


def dictionary_text(definition: Definition, plans: Sequence[GoldPlan]) -> str:
    """The whole dictionary."""
    parts = [_HEAD.format(name=definition.name), _LAYERS, _overview(definition, plans)]
    if plans:
        parts.append(_lineage(plans))
    parts.append("## Silver\n")
    parts += [_source_table(definition, table, plans) for table in definition.tables]
    parts += [
        f"### {table.history_name}\n\n{_versions_of(table)} Its columns are those of that table.\n"
        for table in definition.tables
        if table.history_name
    ]
    if plans:
        parts.append("## Gold\n")
        parts += [_gold_table(plan) for plan in plans]
    return "\n".join(parts)


def _overview(definition: Definition, plans: Sequence[GoldPlan]) -> str:
    silver = [(_link(t.name), "silver", _words(t.description)) for t in definition.tables]
    silver += [(_link(t.history_name), "silver", _versions_of(t)) for t in definition.tables if t.history_name]
    gold = [(_link(plan.name), f"gold, {plan.kind}", _words(plan.description)) for plan in plans]
    return _rows(("table", "layer", "what is in it"), [*silver, *gold])


def _lineage(plans: Sequence[GoldPlan]) -> str:
    """Which Gold table is made of which Silver tables; dotted: it only gives keys."""
    arrows = []
    for plan in plans:
        read = {dependency.table for dependency in plan.depends_on}
        arrows += [f"    {table} --> {plan.name}" for table in sorted(read)]
        arrows += [f"    {table} -.-> {plan.name}" for table in plan.tables if table not in read]
    head = ["## From Silver to Gold\n", "Dotted: only keys come from there.\n", "```mermaid", "graph LR"]
    return "\n".join([*head, *arrows, "```\n"])


def _versions_of(table: Table) -> str:
    return f"Every good version of the rows of {_link(table.name)}, deletes too."


def _source_table(definition: Definition, table: Table, plans: Sequence[GoldPlan]) -> str:
    own = {table.name, table.history_name}
    facts = [
        ("source", f"`{definition.database}.{table.name}`, read from {_FEEDS[table.feed]}"),
        *_topic(definition, table),
        ("key", _names(table.key)),
        ("cursor", f"`{table.cursor}`" if table.cursor else "none"),
        ("history", _HISTORY[table.history]),
        ("goes into", ", ".join(_link(plan.name) for plan in plans if own & {*plan.tables}) or "no table of Gold"),
    ]
    columns = [
        (
            f"`{c.name}`",
            f"{c.type}{_size(c.length)}",
            spark_type(c),
            "yes" if c.nullable else "no",
            _words(c.description),
        )
        for c in table.columns
    ]
    described = [f"{_words(table.description)}\n"] if table.description else []
    lines = [f"### {table.name}\n", *described, *_listed(facts)]
    lines += ["", _rows(("column", "type", "in Silver", "nullable", "meaning"), columns)]
    if table.rules:
        rules = [(f"`{rule_name(rule)}`", _meaning(rule), _ACTIONS[rule.action]) for rule in table.rules]
        lines.append(_rows(("rule", "holds if", "or else"), rules))
    return "\n".join(lines)


def _topic(definition: Definition, table: Table) -> Iterator[tuple[str, str]]:
    if table.feed == "changes":
        name = change_topic(definition.name, table.name, engine=definition.engine)
        yield "topic", f"`{name}`, keyed by `{table.topic_key or ', '.join(table.key)}`"


def _gold_table(plan: GoldPlan) -> str:
    facts = [
        ("key", _names(plan.key)),
        ("made of", ", ".join(_dependencies(plan))),
        ("history", _HISTORY[plan.scd] if plan.kind == "dimension" else "the newest state only"),
    ]
    if plan.partition:
        facts.append(("files by", f"`{plan.partition}`"))
    if plan.inferred_from:
        names = ", ".join(f"`{table}.{column}`" for table, column in plan.inferred_from)
        facts.append(("inferred", f"a key that is only in {names} has a row with nothing else, until its own comes"))
    columns = [
        (f"`{c.name}`", c.type, ", ".join(f"`{t}.{n}`" for t, n in c.sources) or NO_MEANING, _words(c.meaning))
        for c in plan.columns
    ]
    columns += [(f"`{name}`", kind, NO_MEANING, meaning) for name, kind, meaning in added_columns(plan)]
    if plan.inferred_from:
        columns.append(
            (f"`{INFERRED}`", "boolean", NO_MEANING, "Whether the key is all that is known of the row so far.")
        )
    table = (
        _rows(("column", "type", "from", "meaning"), columns) if plan.columns else "Its columns are not described.\n"
    )
    return "\n".join([f"### {plan.name}\n", f"{_words(plan.description)}\n", *_listed(facts), "", table])


def _dependencies(plan: GoldPlan) -> Iterator[str]:
    for dependency in plan.depends_on:
        mapped = ", ".join(f"`{own}` is its `{name}`" for own, name in dependency.columns)
        yield f"{_link(dependency.table)} ({mapped or 'every row concerns all of it'})"


def _meaning(rule: Rule) -> str:
    match rule:
        case NotNull():
            return f"`{rule.column}` has a value"
        case Range():
            words = {"min": "at least", "max": "at most"}
            bounds = [f"{words[name]} {bound_text(bound)}" for name, bound in rule.bounds.items()]
            return f"`{rule.column}` is {' and '.join(bounds)}"
        case Pattern():
            return f"the whole of `{rule.column}` matches `{rule.pattern}`"
        case Reference():
            return f"`{rule.column}` is a key of {_link(rule.table)}"
        case Unique():
            return f"no other row has the same {_names(rule.columns)}"


def _listed(facts: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from (f"- {name}: {text}" for name, text in facts)


def _rows(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [list(names), ["---"] * len(names), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _size(length: int | None) -> str:
    return "" if length is None else f"({length})"


def _words(text: str | None) -> str:
    """A text as Markdown shows it as it is."""
    if not text:
        return NO_MEANING
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{character}" if character in "\\*[]`" else character for character in escaped)
