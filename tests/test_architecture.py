"""Goal: the directions and sizes that keep the code readable hold.

Method: syntax trees, and one import of everything under watch; one test for each rule, which lists every fault. The
checkers are proven on bad snippets in `tests/unit/test_architecture_checkers.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from config.dataset import known_datasets, load_definition
from config.settings import DatasetSettings, environment_with
from streams.topics import catalogue
from tables import order_state
from tests.support.architecture import (
    REPOSITORY,
    Module,
    circles,
    copies,
    defines,
    environment_uses,
    importers,
    impurities,
    modules,
    packages_without_docstring_file,
    poor_package_docstring,
    resolved_elsewhere,
    spelled,
    too_large,
    upward_imports,
    within,
    wrong_directions,
)

FRONT_DOOR = "ops.lake"
"""The command `millrace lake` runs the program of the lake; it alone leads from one program to another."""

PROJECT = ("agents", "batch", "bench", "config", "demo", "ops", "stack", "streams", "tables")
CODE = modules(*PROJECT)
TESTS = modules("tests")
PARTS_OF_STREAMS = {"streams.adapters", "streams.model", "streams.runtime", "streams.topics"}
# What each package may import of the project; a module obeys every line that names a package it is in.
DIRECTIONS: Mapping[str, set[str]] = {
    "config": {"config"},
    "streams.topics": set(),
    "streams.model": {"streams.model"},
    # How to connect to Kafka comes with the brokers' addresses; the runtime knows no other settings.
    "streams.adapters": {"config.kafka_security", "config.tls", "streams.adapters", "streams.model", "streams.topics"},
    "streams.schemas": {"streams.model", "streams.schemas", "streams.topics"},
    "streams.runtime": {"config.kafka_security", "streams.model", "streams.runtime"},
    "streams.runtime.state": {"streams.model", "streams.runtime.state"},
    "streams.runtime.partition": {
        "streams.model", "streams.runtime.partition", "streams.runtime.state", "streams.runtime.stats",
    },
    "tables": PARTS_OF_STREAMS | {"tables"},
    "agents": PARTS_OF_STREAMS | {"agents", "tables"},
    "batch": {"batch", "config", "streams.adapters", "streams.model", "streams.topics"},
    "stack": {"config", "stack"},
    # Of the applications, the tools know the state's name and how a writer is named: they fence retired ones.
    "ops": PARTS_OF_STREAMS | {"agents.guard", "config", "ops", "stack", "streams.schemas", "tables"},
    "demo": PARTS_OF_STREAMS | {"config", "demo", "ops", "stack"},
    "bench": PARTS_OF_STREAMS | {"bench", "config", "demo", "ops", "stack"},
}  # fmt: skip
# The rooms of `batch` from the top down: each imports only what stands below it.
ROOMS_OF_BATCH = (
    "__main__", "commands", "erasure", "reconcile", "pipeline", "dictionary", "gold", "silver", "bronze", "quarantine",
    "context", "delta", "console", "storage", "spark", "errors",
)  # fmt: skip
# Clients of servers, and the modules that speak to those; a server's launcher asks it whether it is up.
ADAPTERS = {
    "redis": {"streams.adapters.redis", "stack.servers.redis"},
    "minio": {"streams.adapters.object_store", "batch.storage.objects", "stack.servers.minio"},
}
# A change topic: the engine's prefix, then database and table. The driver's package has the same beginning.
CHANGE_TOPIC = r"(mysql|dbserver1)\.(?!connector)"
MOST_LINES, MOST_FUNCTION_LINES, MOST_NESTING = 300, 40, 4
MOST_TEST_LINES = 400  # a file of tests is a list, and is read by its names


def is_application(module: Module) -> bool:
    """`streams/orders.py` and its like: they make a Faust application."""
    return module.name.count(".") == 1 and within(module.name, {"streams"}) and defines(module, "app")


def is_program(module: Module) -> bool:
    """What is started with `python -m`: it joins parts that know nothing of each other, and nobody imports it."""
    return module.name.endswith(".__main__")


def topic_names() -> set[str]:
    """Every topic name of every dataset that the catalogue covers."""
    settings = DatasetSettings.read({})
    names = {name for name in known_datasets() if load_definition(name).completeness is not None}
    specs = [catalogue(dataset=name, app_id=settings.orders_app_id, order_partitions=1) for name in names]
    return {spec.name for each in specs for spec in each}


def table_names() -> set[str]:
    """Source tables of every dataset, and the tables that workers keep."""
    return {order_state.NAME} | {table.name for name in known_datasets() for table in load_definition(name).tables}


def test_the_model_is_pure() -> None:
    assert [fault for module in modules("streams/model") for fault in impurities(module, "streams.model")] == []


def test_imports_go_in_the_agreed_directions() -> None:
    found = [module for module in CODE if not is_program(module) and module.name != FRONT_DOOR]
    assert [fault for module in found for fault in wrong_directions(module, DIRECTIONS, PROJECT)] == []


def test_the_rooms_of_the_lake_import_downwards_only() -> None:
    found = modules("batch")
    assert {module.name.split(".")[1] for module in found if "." in module.name} == set(ROOMS_OF_BATCH)
    assert [fault for module in found for fault in upward_imports(module, "batch", ROOMS_OF_BATCH)] == []


def test_no_package_has_a_circle_among_its_parts() -> None:
    # Imports for type checking count. `streams`, `agents` and `tables` are fixed names: DIRECTIONS keeps those apart.
    assert circles([module for module in CODE if not is_program(module)]) == []


def test_agents_and_batch_are_imported_by_applications_and_programs_only() -> None:
    free = [module for module in CODE if not (is_application(module) or is_program(module))]
    free = [module for module in free if module.name != FRONT_DOOR]
    for package in ("agents", "batch"):
        others = [module for module in free if not within(module.name, {package})]
        # The commands for locks read what the guard has written.
        found = [name for name in importers(others, package) if name != "ops.locks"]
        assert found == [], package


def test_no_code_imports_an_application_or_a_program() -> None:
    roofs = [module.name for module in CODE if is_application(module) or is_program(module)]
    assert {"streams.orders", "stack.__main__"} <= set(roofs)
    others = [module for module in CODE if module.name != FRONT_DOOR]
    assert [fault for name in roofs for fault in importers(others, name)] == []


def test_the_runtime_knows_no_topic_or_table_by_name() -> None:
    names = topic_names() | table_names()
    assert [fault for module in modules("streams/runtime") for fault in spelled(module, names, CHANGE_TOPIC)] == []


def test_topic_names_are_spelled_in_the_catalogue_only() -> None:
    names, others = topic_names(), [module for module in CODE if module.name != "streams.topics"]
    assert [fault for module in others for fault in spelled(module, names, CHANGE_TOPIC)] == []


def test_an_example_needs_nothing_of_the_project_and_is_small() -> None:
    for module in modules("examples"):
        assert wrong_directions(module, {"examples": set[str]()}, PROJECT) == []
        assert too_large(module, lines=150, function_lines=MOST_FUNCTION_LINES, nesting=MOST_NESTING) == []


def test_each_server_is_spoken_to_in_its_adapters_only() -> None:
    # Besides the benchmark, which counts what lies in a bucket by itself.
    product = [module for module in CODE if not within(module.name, {"bench"})]
    assert [name for client, own in ADAPTERS.items() for name in importers(product, client) if name not in own] == []


def test_drivers_of_source_databases_are_imported_by_the_engines_only() -> None:
    # Besides the launchers of the local servers, which ask whether a server is up, and the client of the warehouse.
    for driver in ("mysql", "psycopg"):
        own = {"config.engines", "stack.servers", "streams.adapters.postgres"}
        assert [name for name in importers(CODE, driver) if not within(name, own)] == [], driver


def test_no_program_writes_into_a_database_by_copy() -> None:
    """The rows of a COPY share places in PostgreSQL's log, and a connector that stops among them may lose some."""
    assert [line for module in CODE for line in copies(module)] == []


def test_pyspark_is_imported_in_batch_only() -> None:
    # Besides the pipeline with which the benchmark compares.
    own = [name for name in importers(CODE, "pyspark") if name != "bench.peers.plain_parquet"]
    assert [name for name in own if not within(name, {"batch"})] == []


def test_the_settings_alone_read_the_environment() -> None:
    # Programs are started with `config.settings.environment_with`, so not even `stack` is an exception.
    others = [module for module in CODE if module.name not in ("config.settings", "config.settings_group")]
    assert [fault for module in others for fault in environment_uses(module)] == []


def test_the_projects_names_are_found_inside_the_repository() -> None:
    assert resolved_elsewhere([*PROJECT, "tests"]) == []


def test_every_package_says_in_one_sentence_what_it_is() -> None:
    assert [folder for name in PROJECT for folder in packages_without_docstring_file(REPOSITORY / name)] == []
    assert [fault for module in CODE if _is_package(module) for fault in poor_package_docstring(module)] == []


def test_files_and_functions_are_small() -> None:
    limits = {"function_lines": MOST_FUNCTION_LINES, "nesting": MOST_NESTING}
    found = [fault for module in CODE for fault in too_large(module, lines=MOST_LINES, **limits)]
    assert found + [fault for module in TESTS for fault in too_large(module, lines=MOST_TEST_LINES, **limits)] == []


def test_importing_every_module_touches_no_server_process_or_file() -> None:
    nowhere = {
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "REDIS_URL": "redis://127.0.0.1:1",
        "MINIO_ENDPOINT": "http://127.0.0.1:1",
        "WAREHOUSE_HOST": "127.0.0.1",
    }
    logins = {"MINIO_ACCESS_KEY": "nobody", "MINIO_SECRET_KEY": "nothing"}
    logins |= {"WAREHOUSE_USER": "nobody", "WAREHOUSE_PASSWORD": "nothing"}
    told = environment_with(nowhere | logins)
    command = [sys.executable, "-B", "-m", "tests.support.import_effects", *(module.name for module in CODE)]
    result = subprocess.run(command, cwd=REPOSITORY, env=told, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def _is_package(module: Module) -> bool:
    return (REPOSITORY / module.name.replace(".", "/") / "__init__.py").exists()
