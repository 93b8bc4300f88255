"""The model in `docker-compose.yml` and the names of the settings, for the tests that hold them against each other."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import yaml

from config.settings_group import SettingsGroup

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
MODEL: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = MODEL["services"]
SERVERS = ("mysql", "postgres", "kafka", "connect", "redis", "minio")
PROGRAMS = tuple(name for name, service in SERVICES.items() if "build" in service)
WATCH = "connector"
OTHERS = {"shop": "postgres", "firma": "postgres", "online-store": "mysql"}
"""The source of each other dataset, by its profile."""

WATCHES = {"setup": WATCH} | {f"setup-{name}": f"connector-{name}" for name in OTHERS}
"""The watch of each dataset's connector, by the service that sets the dataset up."""

SOURCES = {"setup": "mysql"} | {f"setup-{name}": source for name, source in OTHERS.items()}
LAKE = "lake"
CLUSTER = ("spark", "spark-worker")
OF_LAKE_IMAGE = (LAKE, *CLUSTER)
WORKERS = tuple(name for name in PROGRAMS if name not in (*WATCHES, *WATCHES.values(), *OF_LAKE_IMAGE))
OF_PROFILE = {name: {f"setup-{name}", f"connector-{name}", f"archive-{name}"} for name in OTHERS}
OF_PROFILE["shop"] |= {"warehouse-shop", "metrics-shop"}
"""Services of the profile of each other dataset; besides, those of PostgreSQL share its server."""

OF_OTHERS = {"postgres", *(service for services in OF_PROFILE.values() for service in services)}

APPLICATIONS: dict[str, str] = {name: SERVICES[name]["command"][2] for name in WORKERS if name not in OF_OTHERS}
"""The applications of the default dataset."""

ONE_SHOTS = ("buckets", *WATCHES)
MONITORING = ("prometheus", "grafana", "kafka-ui")
"""Services of the profile `monitoring`."""

VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")


def environment(service: str) -> dict[str, str]:
    """What a service is told, without what is only passed on; each secret is replaced by a word."""
    told: dict[str, Any] = SERVICES[service].get("environment", {})
    return {name: VARIABLE.sub("word", str(value)) for name, value in told.items() if value is not None}


def variables() -> dict[str, str]:
    """The variables that the file takes from `.env`, each with what follows its name."""
    return dict(VARIABLE.findall(COMPOSE_FILE.read_text()))


def setting_fields() -> dict[str, dataclasses.Field[Any]]:
    """Every setting by its names in the environment; of fields with the same name, one."""
    fields = [item for group in groups_of(SettingsGroup) for item in dataclasses.fields(group)]
    return {name: item for item in fields for name in item.metadata["names"]}


def groups_of(base: type[SettingsGroup]) -> list[type[SettingsGroup]]:
    """Every group that extends `base`, directly or through another."""
    return [group for direct in base.__subclasses__() for group in (direct, *groups_of(direct))]
