"""The report of an erasure: printed as a table, and stored next to the run manifests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from batch.console.output import columns
from batch.erasure.person import SUBJECT
from batch.storage.objects import ObjectFolder


class Entry(msgspec.Struct, kw_only=True):
    """The entry of an erasure report for one storage location, such as a table or a topic.

    Attributes:
        found, left: number of the person's rows, records or keys before and after the erasure.
        is_ours: whether the command erases data in this location; if so, any data left is a failure.
        note: a remark, such as why data is left and for how long.
    """

    place: str
    found: int
    left: int
    is_ours: bool = True
    note: str = ""

    @property
    def erased(self) -> int:
        """The number of erased rows, records or keys."""
        return max(0, self.found - self.left)


class Report(msgspec.Struct, kw_only=True):
    """The report of one erasure; `person` is the SHA-256 of `dataset/table/id`, so that the report omits the id."""

    run_id: str
    dataset: str
    subject: str = SUBJECT
    person: str
    started_at: datetime
    ended_at: datetime
    is_verified: bool
    places: list[Entry]


def combined(reports: Sequence[Report]) -> Report:
    """Return one report of the erasures of a person's rows in several tables, given in their order."""
    return msgspec.structs.replace(
        reports[-1],
        started_at=reports[0].started_at,
        is_verified=all(report.is_verified for report in reports),
        places=[entry for report in reports for entry in report.places],
    )


def write_report(report: Report, folder: ObjectFolder) -> None:
    """Write the report to the folder, as an object named `{run_id}.json`."""
    folder.write(f"{report.run_id}.json", msgspec.json.format(msgspec.json.encode(report)))


def report_text(entries: list[Entry], *, is_dry_run: bool = False) -> str:
    """Format the report entries as a table with one line each; a dry run shows only the numbers found."""
    rows = [("PLACE", "FOUND") if is_dry_run else ("PLACE", "FOUND", "ERASED", "LEFT")]
    for entry in entries:
        counts = (entry.found,) if is_dry_run else (entry.found, entry.erased, entry.left)
        rows.append((entry.place, *(f"{count:,}" for count in counts)))  # type: ignore[arg-type]
    lines = columns(rows, right=range(1, len(rows[0]))).splitlines()
    notes = ["", *(entry.note for entry in entries)]
    return "\n".join(f"{line}  {note}".rstrip() for line, note in zip(lines, notes, strict=True))
