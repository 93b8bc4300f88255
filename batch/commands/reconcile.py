"""`millrace lake reconcile`: compare stream and lake with the source database, and repair the lake on request."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql import SparkSession

from batch.console.output import Say, print_error, print_out
from batch.pipeline.job_record import DATABASE, Comparison, JobRecord
from batch.pipeline.lease import Lease
from batch.pipeline.plan import check_choice
from batch.pipeline.runner import OPERATING_ERRORS, brief
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.reconcile.compare import Comparer
from batch.reconcile.lookup import Lookup
from batch.reconcile.repair import repair
from batch.reconcile.stream import compare_stream
from batch.reconcile.verdict import Finding, Verdict, finding_members, overall, report, verdict_line
from batch.storage.database import connected
from config.definition import Definition
from config.engines import engine_of
from config.engines.base import SourceSettings
from config.json_output import add_json_option, print_json
from config.settings import KafkaSettings, RedisSettings
from config.settings_group import SettingsError, read_groups
from streams.adapters.redis import RedisConsole

CANNOT_TELL: Final = 3
"""Exit code if the comparison could not be completed."""

PAUSE_S: Final = 3.0
"""Seconds to wait before and after the second comparison: far longer than a change needs to reach Kafka."""


def add_commands(subparsers: Any) -> None:
    """Register the `reconcile` command and its options."""
    text = "compare stream and lake with the source; exit code 0: equal, 1: different, 2: behind, 3: comparison failed"
    parser = subparsers.add_parser("reconcile", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("--table", metavar="TABLE", help="compare only this table (a source table or a Gold table)")
    parser.add_argument(
        "--repair", action="store_true", help="read differing rows from the source into the lake, then compare again"
    )
    parser.add_argument(
        "--force", action="store_true", help="repair even if the source has over 20%% fewer rows than the lake"
    )
    parser.add_argument(
        "--wait", action="store_true", help="with --repair: if another run of the dataset is in progress, wait for it"
    )
    add_json_option(
        parser,
        verdict="`equal`, `different` or `behind`",
        tables="objects with `name`, `state` (the verdict on the table, or `not compared`), the numbers of rows "
        "`source_rows`, `lake_rows`, `different`, `behind` and `quarantined`, `note`, and up to 10 `examples` of rows "
        "that differ, each with its `key` and `how` it differs",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare with the source, repair if requested, print the verdict, and return it as the exit code."""
    say = print_error if arguments.json else print_out
    try:
        with open_workspace(arguments) as workspace:
            check_choice(workspace.definition, layer=None, table=arguments.table)
            sources = Sources.read(workspace.definition)
            with workspace.spark(optimises=True) as spark:  # it reads whole tables
                findings = _compared(workspace, spark, sources, arguments.table, say)
                if arguments.repair and overall(findings) is Verdict.DIFFERENT:
                    _repair(workspace, spark, findings, arguments, say)
                    findings = _compared(workspace, spark, sources, arguments.table, say)
    except (*OPERATING_ERRORS, SettingsError) as error:
        print(brief(error), file=sys.stderr)
        return CANNOT_TELL
    verdict = overall(findings)
    if arguments.table is None:
        _record(workspace.definition.name, findings, say)
    if arguments.json:
        tables = [finding_members(finding) for finding in findings]
        return print_json(arguments, exit_code=int(verdict), verdict=verdict.name.lower(), tables=tables)
    print_out(verdict_line(findings))
    return int(verdict)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The servers to compare with; `kafka` is None if the dataset has no topics."""

    database: SourceSettings
    kafka: KafkaSettings | None

    @classmethod
    def read(cls, definition: Definition) -> Sources:
        """Read the settings of the servers that the dataset needs."""
        has_topics = definition.completeness is not None or any(table.feed != "jdbc" for table in definition.tables)
        login = engine_of(definition).settings
        groups = read_groups([login, KafkaSettings] if has_topics else [login])
        return cls(database=groups[0], kafka=groups[1] if has_topics else None)


def _compared(
    workspace: Workspace, spark: SparkSession, sources: Sources, table: str | None, say: Say
) -> list[Finding]:
    definition, database, kafka = workspace.definition, sources.database, sources.kafka
    say(f"→ compare {definition.name} with its source at {database.host}:{database.port}")
    with connected(database, definition.database, definition.schema) as connection:
        bootstrap = None if kafka is None else kafka.bootstrap
        comparer = Comparer(
            workspace=workspace,
            spark=spark,
            connection=connection,
            lookup=Lookup(workspace=workspace, spark=spark, connection=connection, bootstrap=bootstrap),
            pause=_pause,
            say=say,
        )
        findings = comparer.findings(table)
        if definition.completeness is not None and kafka is not None and table is None:
            findings.insert(0, compare_stream(connection, definition, definition.completeness, kafka.bootstrap, _pause))
    say("")
    say(report(findings))
    return findings


def _record(dataset: str, findings: list[Finding], say: Say) -> None:
    """Record the outcome for the metrics of the service, if there is a Redis."""
    try:
        url = RedisSettings.read().url
    except SettingsError:
        return
    different = [finding.name for finding in findings if finding.verdict is Verdict.DIFFERENT]
    comparison = Comparison(verdict=overall(findings).name.lower(), at=time.time(), different=different)
    with RedisConsole(url, database=DATABASE) as redis:
        JobRecord(redis, dataset, say).compared(comparison)


def _pause() -> None:
    time.sleep(PAUSE_S)


def _repair(
    workspace: Workspace, spark: SparkSession, findings: list[Finding], arguments: argparse.Namespace, say: Say
) -> None:
    with RedisConsole(RedisSettings.read().url, database=DATABASE) as redis:
        lease = Lease(redis, workspace.definition.name, say)
        with lease.hold(wait=arguments.wait):
            record = JobRecord(redis, workspace.definition.name, say)
            repair(workspace, spark, findings, record, is_forced=arguments.force, say=say)
