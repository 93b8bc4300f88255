"""Create, show, check and remove the tables that a dataset has in the warehouse, a PostgreSQL database.

millrace warehouse apply     create database, schema and tables, and add columns that the definition names
millrace warehouse status    show tables, offsets and dead letters; exit code 1 if tables or columns are missing
millrace warehouse check     compare rows and checksums with the source; exit code 1 if they differ
millrace warehouse erase     erase a person whom the source has deleted
millrace warehouse reset     remove the dataset's schema with all rows and offsets; workers fill it again after `apply`
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, Final

from config.database_settings import WarehouseDatabaseSettings
from config.definition import Definition
from config.engines import engine_of
from config.engines.base import Connection
from config.json_output import add_json_option, print_json
from ops.context import add_stack_option, settings_environment
from ops.database import connect, connected
from ops.warehouse.check import Comparison, compared
from ops.warehouse.erase import run_erase
from ops.warehouse.place import subject_of, tables_of, warehouse_connection
from stack.errors import StackError
from streams.model.warehouse import WarehouseTable
from streams.topics import topic_under
from tables.warehouse.schema import ERASED, LETTERS, OFFSETS, column_types, quoted, schema_script

_COLUMNS: Final = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = %s"
_KEY: Final = """
    SELECT a.attname FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indisprimary AND i.indrelid = %s::regclass
"""


def add_commands(subparsers: Any) -> None:
    """Add `warehouse apply`, `status`, `check`, `erase` and `reset`."""
    parser = subparsers.add_parser(
        "warehouse", help="create, show, check and remove a dataset's tables in the warehouse"
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add(actions, "apply", run_apply, "create database, schema and tables, and add columns that the definition names")
    text = "show tables, offsets and dead letters; exit code 1 if tables or columns are missing"
    status = _add(actions, "status", run_status, text)
    add_json_option(
        status,
        tables="objects with `table`, the numbers of `rows` and of those `deleted`, and `newest`, the time of the "
        "newest change",
        offsets="objects with `app`, `topic`, `partition` and `next`, the next offset to process (null: none yet)",
        dead_letters="objects with `app` and the number of `letters` in dlq_events",
        faults="what is missing or different, as one text each",
    )
    text = "compare rows and checksums with a source on PostgreSQL; exit code 1 if they differ, or are not there yet"
    check = _add(actions, "check", run_check, text)
    add_json_option(
        check,
        tables="objects with `table`, the numbers of rows in `source` and `warehouse`, and `equal`",
    )
    text = "erase a person whom the source has deleted; no change that is read again brings the data back"
    erase = _add(actions, "erase", run_erase, text)
    erase.add_argument("--customer", metavar="ID", required=True, help="key of the customer's row")
    reset = _add(actions, "reset", run_reset, "remove the dataset's schema with all rows and offsets")
    reset.add_argument("--yes", action="store_true", help="really remove them")
    text = "remove only this table of the warehouse, with the offsets of its topic"
    reset.add_argument("--table", metavar="TABLE", help=text)


def run_apply(arguments: argparse.Namespace) -> int:
    """Create what is missing; fail if a table has a column of another type, or another key."""
    definition, settings = subject_of(arguments)
    tables = apply_warehouse(definition, settings)
    print(f"schema {definition.name} of {settings.database} has {', '.join(table.name for table in tables)}")
    return 0


def apply_warehouse(definition: Definition, settings: WarehouseDatabaseSettings) -> tuple[WarehouseTable, ...]:
    """Create what a dataset's warehouse lacks; return its tables.

    Raises:
        StackError: a table has a column of another type, or another key.
    """
    tables = tables_of(definition)
    server = connect(settings)
    try:
        server.engine.create_database(server, settings.database, drop=False)
    finally:
        server.close()
    with connected(settings, settings.database) as connection:
        connection.engine.run_script(connection, schema_script(definition.name, tables))
        _add_to_search_path(connection, settings, definition.name)
        faults = list(_faults(connection, definition.name, tables))
    if faults:
        raise StackError("\n".join([*faults, "change the definition, or run `millrace warehouse reset` and `apply`"]))
    return tables


def run_status(arguments: argparse.Namespace) -> int:
    """Print the state of the warehouse; return 1 if `apply` has to be run."""
    definition, settings = subject_of(arguments)
    tables, name = tables_of(definition), definition.name
    with warehouse_connection(settings, name) as connection:
        faults = list(_faults(connection, name, tables))
        present = connection.engine.column_types(connection)
        found = [_table_state(connection, table) for table in tables if table.name in present and not faults]
        offsets = _offsets(connection) if OFFSETS in present else []
        letters = _letters(connection) if LETTERS in present else []
    exit_code = 1 if faults else 0
    if arguments.json:
        return print_json(
            arguments, exit_code=exit_code, tables=found, offsets=offsets, dead_letters=letters, faults=faults
        )
    print(_shown(found, offsets, letters, faults))
    return exit_code


def run_check(arguments: argparse.Namespace) -> int:
    """Compare the warehouse with its source; return 1 if a table differs."""
    definition, settings = subject_of(arguments)
    if definition.engine != settings.engine:
        raise StackError(f"dataset {definition.name} is not on PostgreSQL, so its rows cannot be compared in SQL")
    source = engine_of(definition).login(settings_environment(arguments))
    with (
        connected(source, definition.database, definition.schema) as its_rows,
        warehouse_connection(settings, definition.name) as rows,
    ):
        found = compared(its_rows, rows, tables_of(definition))
    exit_code = 0 if all(each.is_equal for each in found) else 1
    if arguments.json:
        return print_json(arguments, exit_code=exit_code, tables=[_comparison(each) for each in found])
    print(f"{'TABLE':<28}{'SOURCE':>12}{'WAREHOUSE':>12}  CHECKSUMS")
    for each in found:
        checksums = f"{each.source.text} {'=' if each.is_equal else '≠'} {each.warehouse.text}"
        print(f"{each.table:<28}{each.source.rows:>12,}{each.warehouse.rows:>12,}  {checksums}")
    return exit_code


def _comparison(found: Comparison) -> dict[str, Any]:
    rows = {"source": found.source.rows, "warehouse": found.warehouse.rows}
    return {"table": found.table, **rows, "equal": found.is_equal}


def run_reset(arguments: argparse.Namespace) -> int:
    """Remove the dataset's schema, or one table; without `--yes`, only say so."""
    definition, settings = subject_of(arguments)
    if arguments.table is None:
        what = f"schema {definition.name} of {settings.database}"
    else:
        what = f"table {definition.name}.{_table(definition, arguments.table).name} of {settings.database}"
    if not arguments.yes:
        raise StackError(f"this removes {what} with all rows: add --yes")
    with warehouse_connection(settings) as connection:
        script = _removal(connection, quoted(definition.name))
        if arguments.table is not None:
            script = removal_of_table(definition, _table(definition, arguments.table))
        connection.engine.run_script(connection, script)
    print(f"removed {what}")
    return 0


def _table(definition: Definition, name: str) -> WarehouseTable:
    found = {table.name: table for table in tables_of(definition)}
    if name not in found:
        raise StackError(f"unknown table {name!r} of the warehouse (known: {', '.join(found)})")
    return found[name]


def removal_of_table(definition: Definition, table: WarehouseTable) -> str:
    """Return the script that removes a table with its topic's offsets, so that a worker fills it again."""
    schema, topic = quoted(definition.name), topic_under(definition.topic_prefix, table.source.name)
    return f"""
        DROP TABLE IF EXISTS {schema}.{quoted(table.name)};
        DELETE FROM {schema}.{OFFSETS} WHERE topic = '{topic}';
    """  # noqa: S608 - the definition's own names


def _removal(connection: Connection, schema: str) -> str:
    """Return the script that removes a schema; the keys of erased persons remain, or their rows would come back."""
    found = connection.value("SELECT to_regclass(%s)::text", (f"{schema}.{ERASED}",))
    if found is None or not connection.value(f"SELECT count(*) FROM {schema}.{ERASED}"):  # noqa: S608
        return f"DROP SCHEMA IF EXISTS {schema} CASCADE"
    return f"""
        CREATE SCHEMA millrace_kept;
        ALTER TABLE {schema}.{ERASED} SET SCHEMA millrace_kept;
        DROP SCHEMA {schema} CASCADE;
        ALTER SCHEMA millrace_kept RENAME TO {schema};
    """


def _add(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    add_stack_option(parser)
    parser.set_defaults(run=run)
    return parser


def _add_to_search_path(connection: Connection, settings: WarehouseDatabaseSettings, schema: str) -> None:
    """Let the login's queries in this database find the tables without the schema's name."""
    known = [name for (name,) in connection.rows("SELECT unnest(current_schemas(false))")]
    others = [name for name in _login_path(connection) if name not in (schema, *known)]
    path = ", ".join(map(quoted, [schema, *others, *[name for name in known if name != schema]]))
    role, database = quoted(settings.user), quoted(settings.database)
    connection.engine.run_script(connection, f"ALTER ROLE {role} IN DATABASE {database} SET search_path = {path}")


def _login_path(connection: Connection) -> list[str]:
    """Return the schemas that the login's queries find in this database, as set before."""
    query = """
        SELECT substr(entry, 13) FROM pg_db_role_setting AS s, unnest(s.setconfig) AS entry
        WHERE s.setrole = current_user::regrole AND entry LIKE 'search_path=%%'
          AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    found = connection.rows(query.replace("%%", "%"))
    return [name.strip().strip('"') for (text,) in found for name in text.split(",")]


def _faults(connection: Connection, schema: str, tables: Sequence[WarehouseTable]) -> Iterator[str]:
    """Yield how the tables differ from the definition; columns that only the warehouse has are no fault."""
    present: dict[str, dict[str, str]] = {}
    for table_name, column, type_ in connection.rows(_COLUMNS, (schema,)):
        present.setdefault(table_name, {})[column] = type_
    for missing in {OFFSETS, LETTERS} - present.keys():
        yield f"table {schema}.{missing} is missing: run `millrace warehouse apply`"
    for table in tables:
        place = f"{schema}.{table.name}"
        if table.name not in present:
            yield f"table {place} is missing: run `millrace warehouse apply`"
            continue
        for column, type_ in column_types(table).items():
            actual = present[table.name].get(column)
            if actual is None:
                yield f"table {place} has no column {column}: run `millrace warehouse apply`"
            elif actual != type_:
                yield f"column {place}.{column} is {actual}, but must be {type_}"
        key = {name for (name,) in connection.rows(_KEY, (f"{quoted(schema)}.{quoted(table.name)}",))}
        if key != set(table.key):
            actual_key = ", ".join(sorted(key)) or "missing"
            yield f"the key of table {place} is {actual_key}, but must be {', '.join(table.key)}"


def schema_faults(settings: WarehouseDatabaseSettings, schema: str, tables: Sequence[WarehouseTable]) -> list[str]:
    """Return how a dataset's tables in the warehouse differ from the definition, each with the remedy."""
    with warehouse_connection(settings, schema) as connection:
        return list(_faults(connection, schema, tables))


def _table_state(connection: Connection, table: WarehouseTable) -> dict[str, Any]:
    time = "last_seen_at" if table.is_dimension else "event_time"
    query = f"SELECT count(*), count(*) FILTER (WHERE is_deleted), max({time}) FROM {quoted(table.name)}"  # noqa: S608
    [(rows, deleted, newest)] = connection.rows(query)
    return {"table": table.name, "rows": rows, "deleted": deleted, "newest": newest}


def _offsets(connection: Connection) -> list[dict[str, Any]]:
    query = "SELECT app, topic, partition, next FROM stream_offsets ORDER BY app, topic, partition"
    return connection.dictionaries(query)


def _letters(connection: Connection) -> list[dict[str, Any]]:
    return connection.dictionaries("SELECT app, count(*) AS letters FROM dlq_events GROUP BY app ORDER BY app")


def _shown(
    tables: Sequence[dict[str, Any]],
    offsets: Sequence[dict[str, Any]],
    letters: Sequence[dict[str, Any]],
    faults: Sequence[str],
) -> str:
    lines = [f"{'TABLE':<28}{'ROWS':>12}{'DELETED':>10}  NEWEST CHANGE"]
    lines += [f"{t['table']:<28}{t['rows']:>12,}{t['deleted']:>10,}  {t['newest'] or '-'}" for t in tables]
    lines += ["", f"{'APPLICATION':<24}{'TOPIC':<36}{'PARTITION':>9}{'NEXT':>12}"]
    lines += [f"{o['app']:<24}{o['topic']:<36}{o['partition']:>9}{_next(o['next']):>12}" for o in offsets]
    lines += ["", *(f"dead letters of {each['app'] or 'unknown'}: {each['letters']:,}" for each in letters)]
    return "\n".join([*lines, *faults]).rstrip()


def _next(offset: int | None) -> str:
    return "-" if offset is None else f"{offset:,}"
