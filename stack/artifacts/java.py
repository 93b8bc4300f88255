"""Download Kafka, Kafka Connect and Debezium with Maven, which verifies them; `pom.xml` has the exact versions."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

from stack.artifacts.cache import ensure
from stack.job import Job

_POM = Path(__file__).with_name("pom.xml")
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def java_folder(cache: Path) -> Path:
    """Return the folder of jars and plugins, whose name contains a hash of `pom.xml`."""
    return cache / f"java-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"


def class_path(cache: Path) -> str:
    """Return the class path of Kafka and Connect."""
    return str(java_folder(cache) / "jars" / "*")


def plugin_path(cache: Path) -> Path:
    """Return the folder of the connector plugins, which has one subfolder per plugin."""
    return java_folder(cache) / "plugins"


def fetch_java(cache: Path, job: Job) -> None:
    """Download the jars and the connector plugins into the cache if missing."""

    def fetch(folder: Path) -> None:
        job.report("downloading Kafka and Debezium with Maven")
        # `-C` enables strict checksums: without it, Maven only warns about a damaged jar.
        command = ["mvn", "-B", "-q", "-C", "-f", str(_POM), _COPY, f"-DoutputDirectory={folder / 'jars'}"]
        job.run(command, purpose="downloading Kafka and Debezium")
        for archive in sorted((folder / "jars").glob("*-plugin.tar.gz")):
            with tarfile.open(archive) as tar:
                tar.extractall(folder / "plugins", filter="data")
            archive.unlink()

    ensure(cache, java_folder(cache).name, fetch, job)
