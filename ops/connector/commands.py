"""Commands for a dataset's connector.

millrace connector apply     create or update the connector, then wait until it and its task are running
millrace connector epoch begin    replace the connector after a fail-over: its changes are newer than all former ones
millrace connector status    show the connector's state; exit code 1 unless it and all its tasks are running, and the
                             source has the definition's tables and columns
millrace connector signal    read a table again, or some of its rows, while changes go on arriving
millrace connector delete    delete the connector; for PostgreSQL, also its slot and Connect's position
millrace connector sweep     append deletions of rows that vanished from the source without a captured deletion
millrace connector watch     start failed tasks again, and sweep after each snapshot; runs until it is stopped
"""

from __future__ import annotations

import argparse
from typing import Any

from config.command_line import add_metrics_option
from config.definition import Definition
from config.engines import engine_of
from config.json_output import add_json_option, print_json
from config.settings import ConnectSettings, DatasetSettings, KafkaSettings
from ops.connector import signal_command, watch_command
from ops.connector.apply import apply_connector, check_connector, failure_of, stop_connector, wait_settled
from ops.connector.epochs import begin_epoch, begun_epoch, next_epoch, running_epoch
from ops.connector.first_reads import FirstReads, read_all
from ops.connector.mysql import check_source, encryption_warnings
from ops.connector.postgres import PostgresSource
from ops.connector.reads import position_of, tables_read
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name, connector_settings
from ops.connector.source_columns import compared
from ops.connector.sweep import sweep
from ops.context import add_stack_option, definition_of, settings_environment
from stack.errors import StackError
from streams.model.position import with_epoch


def add_commands(subparsers: Any) -> None:
    """Add the commands `connector …`."""
    parser = subparsers.add_parser("connector", help="deploy, show or delete the Debezium connector of a dataset")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    apply = _add(actions, "apply", run_apply, "create or update the connector, and wait until it is running")
    apply.add_argument("--wait-snapshot", action="store_true", help="also wait until the initial snapshot is complete")
    text = "show the connector, and how the source differs from the definition; exit code 1 unless all is well"
    status = _add(actions, "status", run_status, text)
    add_json_option(
        status,
        connector="name of the connector",
        state="state of the connector, such as RUNNING; null if it does not exist",
        tasks="objects with `id` and `state`",
        source="for PostgreSQL, lines about slot and last heartbeat (exit code 1 if none for 30 s); differences from "
        "the definition, one line each",
        reading="tables that are being read incrementally",
        failure="cause in the trace of a failed connector or task, else null",
    )
    text = "read a table again, or some of its rows, while changes go on arriving; the read survives restarts"
    signal_command.add_options(_add(actions, "signal", run_signal, text))
    _add(actions, "delete", run_delete, "delete the connector; for PostgreSQL, also its slot and Connect's position")
    text = "append deletions, to the change topics, of rows that vanished from the source without a captured deletion"
    parser = _add(actions, "sweep", run_sweep, text)
    parser.add_argument("--table", metavar="TABLE", help="compare only this table (default: all tables of the dataset)")
    parser.add_argument("--dry-run", action="store_true", help="only count these rows; exit code 1 if there are any")
    parser.add_argument("--force", action="store_true", help="delete them even if they are over 20%% of a table's rows")
    text = "start failed tasks again, and sweep after each snapshot and at the start; runs until it is stopped"
    watch = _add(actions, "watch", run_watch, text)
    add_metrics_option(watch)
    text = "begin a new epoch after the source's log began again"
    epoch = actions.add_parser("epoch", help=text, description=text)
    begin = _add(
        epoch.add_subparsers(required=True, metavar="ACTION"),
        "begin",
        run_epoch_begin,
        "replace the connector by one that reads all tables again, and whose changes are newer than all former ones",
    )
    begin.add_argument("--epoch", type=int, help="number of the new epoch (default: the newest epoch plus 1)")
    begin.add_argument("--wait-snapshot", action="store_true", help="also wait until the initial snapshot is complete")


def run_apply(arguments: argparse.Namespace) -> int:
    """Create the connector or update its settings, and wait until it is running."""
    definition, settings = _read_settings(arguments)
    with ConnectClient(settings.url) as connect:
        epoch = begun_epoch(_bootstrap(arguments), definition.name)
        _apply(arguments, connect, definition, settings, epoch)
    return 0


def run_epoch_begin(arguments: argparse.Namespace) -> int:
    """Record that a new epoch begins, then replace the connector by that of the new epoch."""
    definition, settings = _read_settings(arguments)
    name, bootstrap = connector_name(definition.name), _bootstrap(arguments)
    epoch = next_epoch(begun_epoch(bootstrap, definition.name), arguments.epoch)
    with ConnectClient(settings.url) as connect:
        check_connector(connect, name, connector_settings(definition, settings, epoch=epoch))
        begin_epoch(bootstrap, definition.name, epoch)
        print(f"{name}: epoch {epoch} has begun; if this command fails now, go on with `millrace connector apply`")
        _apply(arguments, connect, definition, settings, epoch)
    return 0


def _apply(
    arguments: argparse.Namespace,
    connect: ConnectClient,
    definition: Definition,
    settings: ConnectSettings,
    epoch: int,
) -> None:
    name, source, before = connector_name(definition.name), None, 0
    environment = settings_environment(arguments)
    if definition.engine == "postgres":
        source = PostgresSource(definition, environment, connect)
        before = source.prepare(epoch, lambda line: print(f"{name}: {line}", flush=True))
    else:
        for line in (*check_source(definition, environment), *encryption_warnings(settings)):
            print(f"{name}: WARNING: {line}")
    database, kafka = engine_of(definition).login(environment), KafkaSettings.read(environment)
    first = FirstReads(definition, database, kafka, connect)
    first.prepare()
    outcome = apply_connector(connect, name, connector_settings(definition, settings, epoch=epoch))
    print(f"{name}: {outcome.value}; the connector and its task are running" + (f" in epoch {epoch}" if epoch else ""))
    if source is not None:
        source.await_arrival(epoch, before)
        print(f"{name}: records arrive")
        for slot in source.forget(before=epoch):
            print(f"{name}: dropped the replication slot {slot} of a former epoch")

    def say(line: str) -> None:
        print(f"{name}: {line}", flush=True)

    if arguments.wait_snapshot:
        prefix = with_epoch(definition.name, epoch)
        read_all(definition, database, kafka, connect, prefix=prefix, say=say)
        say("all tables are read")
    else:
        first.begin(say)
    if source is None and settings.database_tls != "off":
        wait_settled(connect, name)


def run_status(arguments: argparse.Namespace) -> int:
    """Print the state of the connector and its tasks; return 1 unless all are running."""
    definition, settings = _read_settings(arguments)
    name = connector_name(definition.name)
    with ConnectClient(settings.url) as connect:
        status = connect.status(name)
        lines, arrives = _source_status(arguments, connect, definition) if status else ([], True)
        reading = _tables_read(connect, name) if status else []
    if status is None and not arguments.json:
        raise StackError(f"there is no connector {name}: create it with `millrace connector apply`")
    state = status["connector"]["state"] if status else None
    tasks = [{"id": task["id"], "state": task["state"]} for task in (status["tasks"] if status else ())]
    failure = failure_of(status)
    exit_code = 0 if tasks and {state, *(task["state"] for task in tasks)} == {"RUNNING"} and arrives else 1
    found = {"connector": name, "state": state, "tasks": tasks, "failure": failure, "source": lines, "reading": reading}
    if arguments.json:
        return print_json(arguments, exit_code=exit_code, **found)
    print(f"{name}: {state}")
    for line in (
        *(f"task {task['id']}: {task['state']}" for task in tasks),
        *(f"reading {table} incrementally" for table in reading),
        *([failure] if failure else []),
        *lines,
    ):
        print(f"  {line}")
    return exit_code


def _tables_read(connect: ConnectClient, name: str) -> list[str]:
    prefix = (connect.config(name) or {}).get("topic.prefix", "")
    return tables_read(position_of(connect.offsets(name), prefix))


def _source_status(
    arguments: argparse.Namespace, connect: ConnectClient, definition: Definition
) -> tuple[list[str], bool]:
    """Describe the source: PostgreSQL's slot, and what differs from the definition.

    The second value is whether its changes arrive as the definition says.
    """
    environment = settings_environment(arguments)
    if definition.engine == "postgres":
        epoch = running_epoch(connect, connector_name(definition.name))
        lines, arrives = PostgresSource(definition, environment, connect).status_lines(epoch)
    elif "MYSQL_HOST" in environment:
        lines, arrives = [], True
    else:
        return [], True
    try:
        found = compared(engine_of(definition).login(environment), definition)
    except StackError as error:  # the connector may run all the same
        return [*lines, f"tables and columns were not compared with the definition: {error}"], arrives
    return [*lines, *map(str, found)], arrives and not any(each.is_wrong for each in found)


def run_signal(arguments: argparse.Namespace) -> int:
    """Ask the connector to read a table, or to end its reads."""
    return signal_command.run(arguments, *_read_settings(arguments))


def run_delete(arguments: argparse.Namespace) -> int:
    """Delete the connector, and for PostgreSQL its slot and Connect's position, of no use without the slot."""
    definition, settings = _read_settings(arguments)
    name = connector_name(definition.name)
    with ConnectClient(settings.url) as connect:
        known = connect.config(name)
        if known is not None and definition.engine == "postgres":
            stop_connector(connect, name)
            connect.forget_offsets(name)
        print(f"{name}: {'deleted' if connect.delete(name) else 'did not exist'}")
        if definition.engine == "postgres":
            dropped = PostgresSource(definition, settings_environment(arguments), connect).forget()
            told = f"dropped the replication slot {', '.join(dropped)}" if dropped else "had no replication slot"
            print(f"{name}: {told}")
    return 0


def run_sweep(arguments: argparse.Namespace) -> int:
    """Append the deletions that were not captured; return 1 if there are any and `--dry-run` is given."""
    definition, _ = _read_settings(arguments)
    if arguments.table is not None:
        try:
            definition.table(arguments.table)
        except KeyError as error:
            raise StackError(error.args[0]) from None
    environment = settings_environment(arguments)
    tables = sweep(
        engine_of(definition).login(environment),
        KafkaSettings.read(environment).bootstrap,
        definition,
        only=None if arguments.table is None else {arguments.table},
        is_dry=arguments.dry_run,
        is_forced=arguments.force,
    )
    gone, verb = 0, "not deleted (dry run)" if arguments.dry_run else "deletions appended"
    for table in tables:
        gone += table.gone
        outcome = f"{table.gone:,} no longer in the source: {verb}" if table.gone else "all in the source"
        print(f"{table.table}: {table.topic_rows:,} rows in the topic, {outcome}", flush=True)
    return 1 if gone and arguments.dry_run else 0


def run_watch(arguments: argparse.Namespace) -> int:
    """Look at the connector every few seconds until SIGTERM or SIGINT ends the command."""
    return watch_command.run(arguments, *_read_settings(arguments))


def _add(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    parser.add_argument("--dataset", help="name of the dataset (default: the setting DATASET)")
    add_stack_option(parser)
    parser.set_defaults(run=run)
    return parser


def _bootstrap(arguments: argparse.Namespace) -> str:
    return KafkaSettings.read(settings_environment(arguments)).bootstrap


def _read_settings(arguments: argparse.Namespace) -> tuple[Definition, ConnectSettings]:
    environment = settings_environment(arguments)
    dataset = arguments.dataset or DatasetSettings.read(environment).dataset
    return definition_of(dataset), ConnectSettings.read(environment)
