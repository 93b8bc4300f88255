"""Goal: `docker-compose.yml` starts what it should, in the right order, and gives nothing away.

Method: its model is read as data. Where the compose plugin is installed, it also has to accept the file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections import Counter
from typing import Any

import pytest
import yaml

from config.settings import environment_with
from stack.ports import DEFAULT_PORTS
from tests.unit.compose import (
    APPLICATIONS,
    CLUSTER,
    COMPOSE_FILE,
    LAKE,
    MONITORING,
    OF_LAKE_IMAGE,
    OF_OTHERS,
    OF_PROFILE,
    ONE_SHOTS,
    OTHERS,
    PROGRAMS,
    REPOSITORY,
    SERVERS,
    SERVICES,
    SOURCES,
    VARIABLE,
    WATCH,
    WATCHES,
    WORKERS,
    variables,
)

SECRET_NAME = re.compile(r"PASSWORD|SECRET|AUTH|ACCESS_KEY|ROOT_USER")
REQUIRED = re.compile(r"\$\{(\w+):\?set \1 in \.env\}")
EXACT_VERSION = re.compile(r"v?\d+\.\d+\.\d+([.-]\w+)*|\d\d\.\d+-\w+|RELEASE\.\d{4}-\d\d-\d\dT[\d-]+Z")


class _StrictLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(keys) == len(set(keys)), f"a key twice among {keys} {node.start_mark}"
        return super().construct_mapping(node, deep)


def _compose_plugin_works() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0


def test_the_file_is_well_formed_and_the_compose_plugin_accepts_it_where_there_is_one() -> None:
    assert yaml.load(COMPOSE_FILE.read_text(), _StrictLoader)["services"] == SERVICES  # noqa: S506 - a safe loader
    if _compose_plugin_works():
        told = environment_with(dict.fromkeys(variables(), "word"))
        command = ["docker", "compose", "-f", str(COMPOSE_FILE), "config", "--quiet"]
        result = subprocess.run(command, env=told, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr


def test_every_service_is_a_server_a_worker_or_a_one_shot() -> None:
    assert set(SERVICES) == {*SERVERS, *WORKERS, *WATCHES.values(), *ONE_SHOTS, *OF_LAKE_IMAGE, *MONITORING}
    others = ("streams.lookups", "streams.archive", "streams.metrics")
    assert Counter(APPLICATIONS.values()) == {"streams.orders": 2, **dict.fromkeys(others, 1)}
    assert set(PROGRAMS) == {*WORKERS, *WATCHES.values(), *WATCHES, *OF_LAKE_IMAGE}


def test_other_datasets_and_what_only_watches_start_with_their_profiles_and_all_others_always() -> None:
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    for profile, services in OF_PROFILE.items():
        assert {name for name, own in profiles.items() if own == [profile]} == services
    assert profiles["postgres"] == [name for name in OF_PROFILE if OTHERS[name] == "postgres"]
    for profile, others in {"monitoring": MONITORING, "lake": (LAKE,), "spark": CLUSTER}.items():
        assert {name for name, own in profiles.items() if own == [profile]} == set(others)
    assert profiles.keys() == {*OF_OTHERS, *OF_LAKE_IMAGE, *MONITORING}
    for name in set(SERVICES) - OF_OTHERS - {*CLUSTER}:
        assert not set(SERVICES[name].get("depends_on", ())) & OF_OTHERS, f"{name} would start without its need"


def test_prometheus_asks_every_worker_and_reads_the_rules_that_are_there() -> None:
    settings = yaml.safe_load((REPOSITORY / "config/prometheus/prometheus.yaml").read_text())
    [job] = settings["scrape_configs"]
    assert [target for group in job["static_configs"] for target in group["targets"]] == [
        *[f"{worker}:6066" for worker in APPLICATIONS],
        SERVICES[WATCH]["command"][-1].replace("0.0.0.0", WATCH),  # noqa: S104 - within its container
    ]
    found = {(name, group["port"]) for group in job["dns_sd_configs"] for name in group["names"]}
    watches = {(WATCHES[f"setup-{name}"], 9404) for name in OTHERS}
    lake = (LAKE, int(SERVICES[LAKE]["command"][-1].removeprefix("0.0.0.0:")))
    assert found == {*((name, 6066) for name in OF_OTHERS if name in WORKERS), *watches, lake}
    for watch in WATCHES.values():
        assert SERVICES[watch]["command"][-2:] == ["--metrics", "0.0.0.0:9404"], "ConnectorDown would miss it"
    assert [(REPOSITORY / "config/prometheus" / name).exists() for name in settings["rule_files"]] == [True]


def test_the_page_of_the_orders_shows_the_workers_of_all_other_applications() -> None:
    others = [name for name, application in APPLICATIONS.items() if application != "streams.orders"]
    assert SERVICES["orders-1"]["environment"]["WEB_PEERS"] == ",".join(f"http://{name}:6066" for name in others)


def test_every_image_is_pinned_to_one_version() -> None:
    # By tag, not by digest: that takes a look-up in the registry, which no test should need.
    images = {name: str(service["image"]) for name, service in SERVICES.items()}
    images["Dockerfile"] = _dockerfile("FROM")[0].removesuffix(" AS program")
    loose = {name: image for name, image in images.items() if not EXACT_VERSION.fullmatch(image.rpartition(":")[2])}
    assert loose == {}


def test_the_programs_image_has_the_projects_version() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    found = {(SERVICES[name]["image"], SERVICES[name]["build"]["target"]) for name in PROGRAMS}
    assert found == {(f"millrace:{version}", "workers"), (f"millrace-lake:{version}", "lake")}
    assert {name for name in PROGRAMS if SERVICES[name]["build"]["target"] == "lake"} == {*OF_LAKE_IMAGE}
    assert {service["build"]["target"] for service in SERVICES.values() if "build" in service} <= _stages()


def test_kafka_has_the_version_that_runs_without_containers() -> None:
    pom = (REPOSITORY / "stack" / "artifacts" / "pom.xml").read_text()
    found = re.search(r"<kafka\.version>(.+?)<", pom)
    assert found is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{found[1]}"


@pytest.mark.parametrize("name", [*SERVERS, *WORKERS])
def test_every_server_and_worker_has_a_health_check_with_bounds(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_is_healthy_once_it_processes_its_partitions(name: str) -> None:
    assert "http://127.0.0.1:6066/health" in SERVICES[name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_what_it_needs_to_be_ready_not_just_started(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in ONE_SHOTS else "service_healthy"
        assert how == {"condition": expected}, needed


def test_the_workers_and_the_watch_start_after_schema_topics_and_connector() -> None:
    for setup, watch in WATCHES.items():
        profile = setup.removeprefix("setup").removeprefix("-")
        workers = [name for name in WORKERS if name in (OF_PROFILE[profile] if profile else APPLICATIONS)]
        assert all(setup in SERVICES[name]["depends_on"] for name in (*workers, watch))
        assert set(SERVICES[setup]["depends_on"]) == {SOURCES[setup], "kafka", "connect"}


@pytest.mark.parametrize("name", SERVICES)
def test_one_shots_end_and_everything_else_comes_back(name: str) -> None:
    assert SERVICES[name].get("restart") == (None if name in ONE_SHOTS else "unless-stopped")


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_spelled_out(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET_NAME.search(variable) and variable != "MYSQL_RANDOM_ROOT_PASSWORD":
            assert REQUIRED.fullmatch(str(value)), variable
        for login in re.findall(r"://([^/@\s]*)@", VARIABLE.sub(r"${\1}", str(value))):
            assert re.fullmatch(r"(\$\{\w+\})?:\$\{\w+\}", login), variable


def test_a_variable_that_is_missing_is_an_error_that_names_it() -> None:
    assert {name: rest for name, rest in variables().items() if rest != f":?set {name} in .env"} == {}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if name in PROGRAMS:
        assert service["read_only"] is True


def test_the_programs_do_not_run_as_root() -> None:
    assert _dockerfile("USER") == ["millrace", "millrace"], "one in each stage that is an image"


def test_ports_are_those_of_the_local_servers_on_the_loopback_address_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {*SERVERS, *WORKERS, *MONITORING, "spark"}
    expected = {name: DEFAULT_PORTS["mariadb" if name == "mysql" else name] for name in SERVERS}
    for name, ports in published.items():
        address, port, _ = ports[0].split(":")
        assert (len(ports), address) == (1, "127.0.0.1"), name
        assert int(port) == expected.get(name, int(port)), name
    assert len({port for ports in published.values() for port in ports}) == len(published)


def test_every_named_volume_belongs_to_one_service() -> None:
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = [mount for mount in mounts if not mount.startswith(".")]
    assert sorted(named) == sorted(yaml.safe_load(COMPOSE_FILE.read_text())["volumes"])


def test_the_image_holds_what_it_copies_and_the_build_sees_nothing_else() -> None:
    copied = {line.split()[0] for line in _dockerfile("COPY") if not line.startswith("--from")}
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert all((REPOSITORY / name).exists() for name in copied)


def test_the_image_installs_the_locked_dependencies_and_the_program_only() -> None:
    locked, own = [line for line in _dockerfile("RUN") if "pip install" in line]
    assert "--require-hashes -r requirements.lock" in locked
    assert own.endswith("--no-deps --no-build-isolation --editable .")


def test_the_lake_writes_to_its_volume_alone() -> None:
    [line] = [line for line in _dockerfile("ENV") if line.startswith("SPARK_JARS")]
    told = dict(word.split("=") for word in line.split())
    assert {told["SPARK_LOCAL_DIRS"], told["LOG_DIR"]} == {"/state/spark", "/state/logs"}
    assert told["SPARK_CLASS_DATA"] == "false", "its file would lie in a home folder"
    assert [mount.split(":")[1] for mount in SERVICES[LAKE]["volumes"]] == ["/state"]
    assert "/state/work" in SERVICES["spark-worker"]["command"]


def test_the_cluster_is_where_the_lake_looks_for_it() -> None:
    master, worker = (SERVICES[name]["command"] for name in CLUSTER)
    address = f"spark://{master[master.index('--host') + 1]}:{master[master.index('--port') + 1]}"
    assert worker[-1] == address == "spark://spark:7077"
    assert f"SPARK_MASTER={address}" in COMPOSE_FILE.read_text()
    assert SERVICES[LAKE]["environment"]["SPARK_DRIVER_HOST"] == LAKE


def _stages() -> set[str]:
    return {line.split(" AS ")[1] for line in _dockerfile("FROM")}


def _dockerfile(instruction: str) -> list[str]:
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.removeprefix(f"{instruction} ") for line in text.splitlines() if line.startswith(f"{instruction} ")]
