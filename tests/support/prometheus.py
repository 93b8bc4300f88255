"""Prometheus' programs, from the PATH or else from Debian's package, which is unpacked into the cache, not installed.

An installed package would start a server of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import requests
import yaml

from config.settings import CacheSettings
from stack.ports import free_ports
from stack.site import REPOSITORY

RULES: Final = REPOSITORY / "config" / "prometheus" / "rules.yaml"
PACKAGE: Final = "prometheus"
FETCH_S: Final = 300


def prometheus_program(name: str) -> str:
    """Return the path of `promtool` or `prometheus`."""
    installed = shutil.which(name)
    if installed is not None:
        return installed
    folder = CacheSettings.read().expanded() / "prometheus-debian"
    if not folder.exists():
        _unpack(folder)
    return str(folder / "usr" / "bin" / name)


def _unpack(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as new:
        try:
            _run(["apt-get", "download", "-q", PACKAGE], new)
        except subprocess.CalledProcessError:  # the package lists are missing or too old
            _run(["apt-get", "update", "-q"], new)
            _run(["apt-get", "download", "-q", PACKAGE], new)
        [package] = Path(new).glob("*.deb")
        _run(["dpkg-deb", "--extract", str(package), "unpacked"], new)
        if not folder.exists():
            (Path(new) / "unpacked").rename(folder)


def _run(command: list[str], folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=FETCH_S)


class Prometheus:
    """A Prometheus that asks workers every second, and evaluates the shipped rules as often."""

    def __init__(self, folder: Path, targets: Sequence[str]) -> None:
        [port] = free_ports(["prometheus"]).values()
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "millrace", "static_configs": [{"targets": [*targets]}]}],
        }
        folder.mkdir()
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        options = [
            "--config.file=prometheus.yaml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._api = f"http://127.0.0.1:{port}/api/v1"
        self._process = subprocess.Popen(
            [prometheus_program("prometheus"), *options],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire; none before it answers."""
        try:
            answer = requests.get(f"{self._api}/alerts", timeout=5)
        except requests.ConnectionError:
            return set()
        alerts = answer.json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def faults(self) -> list[str]:
        """Return the errors of rules that it could not evaluate."""
        groups = requests.get(f"{self._api}/rules", timeout=5).json()["data"]["groups"]
        return [f"{rule['name']}: {rule['lastError']}" for g in groups for rule in g["rules"] if rule["health"] != "ok"]

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
