"""Starts runs: creates the runner and the lease, and starts Spark only when a plan is needed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

from pyspark.sql import SparkSession

from batch.console.output import print_out
from batch.pipeline.job_record import DATABASE, JobRecord
from batch.pipeline.lease import Lease
from batch.pipeline.report import print_outcome
from batch.pipeline.runner import Plan, Runner, UpToDateCheck, never_up_to_date
from batch.pipeline.service import interrupted_by_termination
from batch.pipeline.workspace import Workspace
from config.settings import RedisSettings
from streams.adapters.redis import RedisConsole


def run_once(
    workspace: Workspace,
    plan_of: Callable[[SparkSession], Plan],
    *,
    wait: bool,
    up_to_date_check: UpToDateCheck = never_up_to_date,
    optimises: bool = False,
) -> int:
    """Execute a single run while holding the dataset's lease; return the exit code, which is 1 if a table failed.

    Args:
        plan_of: returns the plan of the run; not called if `up_to_date_check` finds that there is nothing to do.
        wait: if another run of the dataset is in progress, wait for it to end instead of failing.
        up_to_date_check: checks, before Spark starts, whether there is anything to do.
        optimises: enable Java's optimising compiler (see `spark_session`), for work on whole tables; the first run of
            a lake always enables it.
    """
    prepared = prepared_runner(workspace, plan_of, up_to_date_check=up_to_date_check, optimises=optimises)
    with prepared as (runner, lease, _):
        interrupted_by_termination()
        with lease.hold(wait=wait):
            outcome = runner.run()
            runner.record.fresh(outcome.manifest.started_at.timestamp(), outcome.manifest.tables)
        print_outcome(outcome.manifest, print_out, is_new=outcome.is_new)
        return 1 if outcome.manifest.errors else 0


@contextlib.contextmanager
def prepared_runner(
    workspace: Workspace,
    plan_of: Callable[[SparkSession], Plan],
    *,
    up_to_date_check: UpToDateCheck,
    is_quiet: bool = False,
    optimises: bool = False,
) -> Iterator[tuple[Runner, Lease, Callable[[], Plan]]]:
    """Yield a runner, the dataset's lease, and a function that returns the plan.

    The first call of this function starts Spark. The runner calls it when it needs a plan; call it earlier to start
    Spark in advance.
    """
    name = workspace.definition.name
    with RedisConsole(RedisSettings.read().url, database=DATABASE) as redis, contextlib.ExitStack() as ending:

        @functools.cache
        def planned() -> Plan:
            has_much_to_do = optimises or workspace.is_empty()
            spark = workspace.spark(records_class_data=not is_quiet, optimises=has_much_to_do)
            return plan_of(ending.enter_context(spark))

        runner = Runner(
            dataset=name,
            manifests=workspace.manifests,
            record=JobRecord(redis, name, print_out),
            plan=lambda run_id, started_at: planned()(run_id, started_at),
            say=print_out,
            is_quiet=is_quiet,
            up_to_date_check=up_to_date_check,
            publish=workspace.publisher(redis, print_out),
        )
        yield runner, Lease(redis, name, print_out), planned
