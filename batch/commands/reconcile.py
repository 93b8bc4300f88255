"""`millrace lake reconcile`: compare stream and lake with the source database, and repair the lake on request."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, Final

from pyspark.sql import SparkSession

from batch.console.output import print_out
from batch.pipeline.job_record import DATABASE, JobRecord
from batch.pipeline.lease import Lease
from batch.pipeline.plan import check_choice
from batch.pipeline.runner import OPERATING_ERRORS, brief
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.reconcile.compare import Comparer
from batch.reconcile.lookup import Lookup
from batch.reconcile.repair import repair
from batch.reconcile.stream import compare_stream
from batch.reconcile.verdict import Finding, Verdict, overall, report
from batch.storage.database import connected
from config.settings import DatabaseSettings, KafkaSettings, RedisSettings, SettingsError
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
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare with the source, repair if requested, print the verdict, and return it as the exit code."""
    try:
        with open_workspace(arguments) as workspace:
            check_choice(workspace.definition, layer=None, table=arguments.table)
            database, kafka = DatabaseSettings.read(), KafkaSettings.read()
            with workspace.spark(optimises=True) as spark:  # it reads whole tables
                findings = _compared(workspace, spark, database, kafka, arguments)
                verdict = overall(findings)
                if arguments.repair and verdict is Verdict.DIFFERENT:
                    findings = _repaired(workspace, spark, findings, arguments)
                    verdict = overall(findings)
    except (*OPERATING_ERRORS, SettingsError) as error:
        print(brief(error), file=sys.stderr)
        return CANNOT_TELL
    print_out(f"verdict: {verdict.name.lower()}")
    return int(verdict)


def _compared(
    workspace: Workspace,
    spark: SparkSession,
    database: DatabaseSettings,
    kafka: KafkaSettings,
    arguments: argparse.Namespace,
) -> list[Finding]:
    print_out(f"→ compare {workspace.definition.name} with its source at {database.host}:{database.port}")
    definition = workspace.definition
    with connected(database, definition.database) as connection:
        lookup = Lookup(workspace=workspace, spark=spark, connection=connection, bootstrap=kafka.bootstrap)
        comparer = Comparer(
            workspace=workspace,
            spark=spark,
            connection=connection,
            lookup=lookup,
            pause=lambda: time.sleep(PAUSE_S),
            say=print_out,
        )
        findings = comparer.findings(arguments.table)
        if definition.completeness is not None and arguments.table is None:
            stream = compare_stream(
                connection, definition, definition.completeness, kafka.bootstrap, lambda: time.sleep(PAUSE_S)
            )
            findings.insert(0, stream)
    print_out("")
    print_out(report(findings))
    return findings


def _repaired(
    workspace: Workspace, spark: SparkSession, findings: list[Finding], arguments: argparse.Namespace
) -> list[Finding]:
    with RedisConsole(RedisSettings.read().url, database=DATABASE) as redis:
        lease = Lease(redis, workspace.definition.name, print_out)
        with lease.hold(wait=arguments.wait):
            record = JobRecord(redis, workspace.definition.name, print_out)
            repair(workspace, spark, findings, record, is_forced=arguments.force, say=print_out)
    return _compared(workspace, spark, DatabaseSettings.read(), KafkaSettings.read(), arguments)
