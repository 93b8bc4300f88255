"""Prometheus' programs, from the PATH or else from Debian's package, which is unpacked into the cache, not installed.

An installed package would start a server of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from config.settings import CacheSettings

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
