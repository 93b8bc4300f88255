"""Report entries for the places with data of a person that an erasure does not search, or does not erase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from batch.context import RunContext
from batch.erasure.person import Person
from batch.erasure.report import Entry
from config.definition import Reference

_ID_ALONE: Final = "the id is kept because facts refer to it; by itself, it identifies nobody"


def referring(person: Person, context: RunContext) -> list[Entry]:
    """Return report entries for the columns of other Silver tables that refer to the person by id, and are kept."""
    found = []
    for table in context.definition.tables if person.is_own else ():
        rows = context.table("silver", table.name)
        erased = {column.name for column in table.columns if column.subject}
        named = [r.column for r in table.rules if isinstance(r, Reference) and r.table == person.table.name]
        for name in [name for name in named if name not in erased] if rows.exists() else []:
            count = rows.read().where(f"NOT _deleted AND {person.condition('STRING', name)}").count()
            place = f"silver/{table.name}.{name}"
            found.append(Entry(place=place, found=count, left=count, is_ours=False, note=_ID_ALONE if count else ""))
    return found


def former_versions(versioned: Sequence[str]) -> list[Entry]:
    """Return report entries for buckets that keep former versions of objects, which cannot be searched."""
    note = "the bucket is versioned: delete the former versions of its objects, for example by a lifecycle rule"
    return [Entry(place=f"versions of {each}", found=0, left=0, is_ours=False, note=note) for each in versioned]


def warehouse(person: Person) -> list[Entry]:
    """Return a report entry for the person's rows in the warehouse, which this command does not know."""
    target = person.table.warehouse
    note = "not searched: run `millrace warehouse erase`, or the row and its dead letters keep their last values"
    place = "" if target is None else f"warehouse {person.dataset}.{target.table}"
    return [Entry(place=place, found=0, left=0, is_ours=False, note=note)] if place else []
