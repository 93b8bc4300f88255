"""`millrace lake erase --customer ID`: erase a person's data, after the source has deleted the row.

Like every run, an erasure takes the dataset's lease and writes a manifest, a job record and the layers' logs. Its
report is printed and stored in `audit/erasures`. The exit code is 0 only if a final search of the archive, the
tables and Redis finds nothing.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from batch.console.output import print_out
from batch.context import RunContext
from batch.erasure.archive import Archive
from batch.erasure.person import Person, check_deleted_in_source, named_person, rows_elsewhere, rows_in_source
from batch.erasure.raw_files import CopiedArchive, RawFiles
from batch.erasure.report import Entry, Report, combined, report_text, write_report
from batch.erasure.streams import LOOKUPS, Topics, erase_lookup, lookup_found, topic_of
from batch.erasure.work import Erasure, with_shared_values
from batch.pipeline.launch import run_once
from batch.pipeline.raw_records import RawRecords
from batch.pipeline.runner import Plan, Step
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.storage.objects import object_folder
from config.engines import engine_of
from config.engines.base import SourceSettings
from config.settings import DatasetSettings, KafkaSettings, RedisSettings
from streams.adapters.redis import RedisConsole


def add_commands(subparsers: Any) -> None:
    """Register the `erase` command and its options."""
    text = "erase a person's data from the archive, the lake and Redis, with a report; exit code 0 if none is left"
    parser = subparsers.add_parser("erase", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument(
        "--customer",
        metavar="ID",
        required=True,
        help="key of the customer's row, which must already be deleted in the source",
    )
    parser.add_argument("--dry-run", action="store_true", help="only count the data in each storage location")
    parser.add_argument(
        "--force", action="store_true", help="erase even if the archive does not contain the deletion of the row"
    )
    parser.add_argument("--wait", action="store_true", help="if another run of the dataset is in progress, wait for it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Erase one customer's data; with `--dry-run`, only count it."""
    with open_workspace(arguments) as workspace:
        person = named_person(workspace.definition, arguments.customer)
        database, topics = engine_of(workspace.definition).login(), Topics(KafkaSettings.read().bootstrap)
        with RedisConsole(RedisSettings.read().url, database=LOOKUPS) as redis:
            if arguments.dry_run:
                return _dry_run(workspace, person, database, topics, redis)
            people = [*rows_elsewhere(person, workspace.definition), person]
            for each in people:
                check_deleted_in_source(each, database, workspace.definition)
            reports: list[Report] = []

            def plan_of(spark: SparkSession) -> Plan:
                def plan(run_id: str, started_at: datetime) -> Iterator[Step]:
                    context = workspace.context(spark, run_id, started_at)
                    for each in people:
                        check_deleted_in_source(each, database, workspace.definition)
                        topics.check_archived(each, context)
                    erasures = _erasures(workspace, people, context, topics, redis, reports)
                    return itertools.chain.from_iterable(each.steps(is_forced=arguments.force) for each in erasures)

                return plan

            code = run_once(workspace, plan_of, wait=arguments.wait)
            if reports:
                _print(combined(reports).places)
                print_out(f"report: {workspace.lake.erasures()}/{reports[-1].run_id}.json")
            return code


def _dry_run(
    workspace: Workspace, person: Person, database: SourceSettings, topics: Topics, redis: RedisConsole
) -> int:
    people = [*rows_elsewhere(person, workspace.definition), person]
    count = sum(rows_in_source(each, database, workspace.definition) for each in people)
    note = "delete these rows in the source before the erasure" if count else ""
    source = Entry(place="source", found=count, left=count, is_ours=False, note=note)
    with workspace.spark() as spark:
        context = workspace.context(spark, "dry-run", datetime.now(UTC))
        erasures = _erasures(workspace, people, context, topics, redis, [])
        _print([source, *(entry for each in erasures for entry in each.found())], is_dry_run=True)
    return 0


def _erasures(
    workspace: Workspace,
    people: Sequence[Person],
    context: RunContext,
    topics: Topics,
    redis: RedisConsole,
    reports: list[Report],
) -> list[Erasure]:
    """Return the erasures of the person's rows, by table, each of which knows the person's values in all tables."""
    erasures = [_erasure(workspace, each, context, topics, redis, reports) for each in people]
    return with_shared_values(erasures)


def _erasure(
    workspace: Workspace,
    person: Person,
    context: RunContext,
    topics: Topics,
    redis: RedisConsole,
    reports: list[Report],
) -> Erasure:
    topic = topic_of(person, context)
    is_looked_up = person.is_own and DatasetSettings.read().dataset == person.dataset

    def keep(report: Report) -> None:
        reports.append(report)
        write_report(combined(reports), object_folder(workspace.lake.erasures(), workspace.store))

    raw = workspace.raw_records(print_out)
    roots = [workspace.lake.bronze, workspace.lake.silver, workspace.lake.gold]
    roots += [] if raw is None else [raw.place]
    return Erasure(
        person=person,
        context=context,
        archive=_archive(context.spark, workspace, topic, raw),
        lookup=(lambda: lookup_found(redis, person), lambda: erase_lookup(redis, person)) if is_looked_up else None,
        outside=lambda values: topics.entries(person, context, values),
        keep=keep,
        versioned=[root for root in roots if object_folder(root, workspace.store).keeps_versions()],
    )


def _archive(spark: SparkSession, workspace: Workspace, topic: str, raw: RawRecords | None) -> Archive:
    folder, max_bytes = workspace.lake.changes(topic), workspace.settings.row_max_bytes
    if raw is None:
        return Archive(spark, folder, workspace.store, max_bytes=max_bytes)
    return CopiedArchive(spark, folder, workspace.store, RawFiles(raw=raw, topic=topic), max_bytes=max_bytes)


def _print(entries: list[Entry], *, is_dry_run: bool = False) -> None:
    print_out("")
    print_out(report_text(entries, is_dry_run=is_dry_run))
