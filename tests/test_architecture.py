"""Goal: the directions and sizes that keep the code readable hold, file by file.

Method: syntax trees, and one import of everything under watch. The checkers are proven on bad snippets in
`tests/unit/test_architecture_checkers.py`.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from config.dataset import known_datasets, load_definition
from config.settings import DatasetSettings, environment_with
from streams.topics import catalogue
from tables import order_state
from tests.support.architecture import (
    REPOSITORY,
    Module,
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
    within,
    wrong_directions,
)

PROJECT = ("agents", "batch", "bench", "config", "stack", "streams", "tables")
CODE = modules(*PROJECT)
TESTS = modules("tests")
# What each package may import of the project.
DIRECTIONS = {
    "config": {"config"},
    "streams.topics": set[str](),
    "streams.model": {"streams.model"},
    "streams.runtime": {"streams.model", "streams.runtime"},
    "tables": {"streams.model", "streams.runtime", "streams.topics", "tables"},
    "agents": {"agents", "streams.model", "streams.runtime", "streams.topics", "tables"},
    "batch": {
        "batch",
        "config",
        "streams.adapters.committed_reader",
        "streams.model",
        "streams.topics",
        "streams.adapters.redis",
    },
}
# A change topic: the engine's prefix, then database and table. The driver's package has the same beginning.
CHANGE_TOPIC = r"(mysql|dbserver1)\.(?!connector)"
MOST_LINES, MOST_FUNCTION_LINES, MOST_NESTING = 300, 40, 4
MOST_TEST_LINES = 400  # a file of tests is a list, and is read by its names


def is_application(module: Module) -> bool:
    """`streams/orders.py` and its like: they make a Faust application."""
    return module.name.count(".") == 1 and within(module.name, {"streams"}) and defines(module, "app")


def is_command_line(module: Module) -> bool:
    """What is started with `python -m`, and the modules of `stack` that add commands to it."""
    return module.name.endswith(".__main__") or (within(module.name, {"stack"}) and defines(module, "add_commands"))


def topic_names() -> set[str]:
    """Every topic name of every dataset that the catalogue covers."""
    settings = DatasetSettings.read({})
    names = {name for name in known_datasets() if load_definition(name).completeness is not None}
    specs = [catalogue(dataset=name, app_id=settings.orders_app_id, order_partitions=1) for name in names]
    return {spec.name for each in specs for spec in each}


def table_names() -> set[str]:
    """Source tables of every dataset, and the tables that workers keep."""
    return {order_state.NAME} | {table.name for name in known_datasets() for table in load_definition(name).tables}


@pytest.mark.parametrize("module", modules("streams/model"), ids=lambda module: module.name)
def test_the_model_is_pure(module: Module) -> None:
    assert impurities(module, "streams.model") == []


@pytest.mark.parametrize("module", CODE, ids=lambda module: module.name)
def test_imports_go_in_the_agreed_directions(module: Module) -> None:
    assert wrong_directions(module, DIRECTIONS, PROJECT) == []


@pytest.mark.parametrize("package", ["agents", "batch"])
def test_agents_and_batch_are_imported_by_applications_and_command_lines_only(package: str) -> None:
    others = [
        module
        for module in CODE
        if not (is_application(module) or is_command_line(module) or within(module.name, {package}))
    ]
    assert importers(others, package) == []


def test_no_code_imports_an_application() -> None:
    applications = [module.name for module in CODE if is_application(module)]
    assert "streams.orders" in applications
    assert [fault for name in applications for fault in importers(CODE, name)] == []


@pytest.mark.parametrize("module", modules("streams/runtime"), ids=lambda module: module.name)
def test_the_runtime_knows_no_topic_or_table_by_name(module: Module) -> None:
    assert spelled(module, topic_names() | table_names(), CHANGE_TOPIC) == []


@pytest.mark.parametrize("module", CODE, ids=lambda module: module.name)
def test_topic_names_are_spelled_in_the_catalogue_only(module: Module) -> None:
    if module.name != "streams.topics":
        assert spelled(module, topic_names(), CHANGE_TOPIC) == []


@pytest.mark.parametrize("module", modules("examples"), ids=lambda module: module.name)
def test_an_example_needs_nothing_of_the_project_and_is_small(module: Module) -> None:
    assert wrong_directions(module, {"examples": set[str]()}, PROJECT) == []
    assert too_large(module, lines=150, function_lines=MOST_FUNCTION_LINES, nesting=MOST_NESTING) == []


def test_redis_is_imported_in_one_adapter() -> None:
    # Besides the local server's own health check, which is about the server and not about what is in it.
    assert len([name for name in importers(CODE, "redis") if name != "stack.servers.redis"]) <= 1


def test_pyspark_is_imported_in_batch_only() -> None:
    # Besides the pipeline with which the benchmark compares.
    own = [name for name in importers(CODE, "pyspark") if name != "bench.peers.plain_parquet"]
    assert [name for name in own if not within(name, {"batch"})] == []


@pytest.mark.parametrize("module", CODE, ids=lambda module: module.name)
def test_the_settings_alone_read_the_environment(module: Module) -> None:
    # Programs are started with `config.settings.environment_with`, so not even `stack` is an exception.
    if module.name != "config.settings":
        assert environment_uses(module) == []


def test_the_projects_names_are_found_inside_the_repository() -> None:
    assert resolved_elsewhere([*PROJECT, "tests"]) == []


@pytest.mark.parametrize("folder", PROJECT)
def test_every_package_says_in_one_sentence_what_it_is(folder: str) -> None:
    assert packages_without_docstring_file(REPOSITORY / folder) == []
    packages = [module for module in CODE if within(module.name, {folder}) and _is_package(module)]
    assert [fault for module in packages for fault in poor_package_docstring(module)] == []


@pytest.mark.parametrize("module", [*CODE, *TESTS], ids=lambda module: module.name)
def test_files_and_functions_are_small(module: Module) -> None:
    lines = MOST_TEST_LINES if module in TESTS else MOST_LINES
    faults = too_large(module, lines=lines, function_lines=MOST_FUNCTION_LINES, nesting=MOST_NESTING)
    assert faults == []


def test_importing_every_module_touches_no_server_process_or_file() -> None:
    nowhere = {
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "REDIS_URL": "redis://127.0.0.1:1",
        "MINIO_ENDPOINT": "http://127.0.0.1:1",
    }
    told = environment_with(nowhere | {"MINIO_ACCESS_KEY": "nobody", "MINIO_SECRET_KEY": "nothing"})
    command = [sys.executable, "-B", "-m", "tests.support.import_effects", *(module.name for module in CODE)]
    result = subprocess.run(command, cwd=REPOSITORY, env=told, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def _is_package(module: Module) -> bool:
    return (REPOSITORY / module.name.replace(".", "/") / "__init__.py").exists()
