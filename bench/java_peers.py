"""The peers that are written in Java: how Maven builds them into the cache, and how they are started."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from config.settings import CacheSettings
from stack.artifacts.cache import ensure
from stack.job import Job

_PEERS: Final = Path(__file__).parent / "peers"
_PARENT: Final = "pom.xml"
_LOGGING: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


@dataclass(frozen=True, kw_only=True)
class JavaPeer:
    """A Maven project below `bench/peers`, whose main class is `bench.OrderJoin`.

    Attributes:
        name: the system's name; the folder has the same, with underscores.
        title: the system's name for people.
        options: options of its Java process.
    """

    name: str
    title: str
    options: Sequence[str]

    @property
    def folder(self) -> str:
        """Name of the project's folder below `bench/peers`."""
        return self.name.replace("-", "_")

    def command(self, temporary: Path) -> list[str]:
        """Return the command that runs the peer without its arguments; `temporary` gets the files that Java unpacks."""
        built = self._cached() / self.folder / "target"
        options = [*self.options, _LOGGING, f"-Djava.io.tmpdir={temporary}"]
        return ["java", *options, "-cp", f"{built / 'classes'}:{built / 'lib'}/*", "bench.OrderJoin"]

    def build(self, say: Callable[[str], None]) -> None:
        """Build the peer, unless the cache has it.

        Raises:
            StackError: Maven cannot build it.
        """
        job = Job(say, threading.Event())

        def run_maven(folder: Path) -> None:
            job.report(f"building the {self.title} peer with Maven")
            shutil.copy(_PEERS / _PARENT, folder)
            shutil.copytree(_PEERS / self.folder, folder / self.folder)
            # `-C` for strict checksums: without it, Maven only warns about a damaged jar.
            command = ["mvn", "-B", "-q", "-C", "-f", str(folder / self.folder / "pom.xml"), "package"]
            job.run(command, purpose=f"building the {self.title} peer")

        ensure(_cache(), self.cache_name(), run_maven, job)

    def cache_name(self) -> str:
        """Return the name of the built peer in the cache, which depends on the contents of all its files."""
        digest = hashlib.sha256((_PEERS / _PARENT).read_bytes())
        for path in sorted(path for path in (_PEERS / self.folder).rglob("*") if path.is_file()):
            digest.update(path.read_bytes())
        return f"{self.name}-{digest.hexdigest()[:12]}"

    def _cached(self) -> Path:
        return _cache() / self.cache_name()


# Java closes these packages to reflection, with which Flink copies and serialises values.
_OPEN_PACKAGES: Final = ("java.base/java.lang", "java.base/java.util", "java.base/java.util.concurrent")

JAVA_PEERS: Final = {
    peer.name: peer
    for peer in (
        JavaPeer(name="kafka-streams", title="Kafka Streams", options=("-Xmx512m",)),
        JavaPeer(
            name="flink",
            title="Flink",
            options=("-Xmx1g", *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPEN_PACKAGES)),
        ),
    )
}


def _cache() -> Path:
    return CacheSettings.read().expanded()
