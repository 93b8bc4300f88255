"""Download Kafka, Kafka Connect and Debezium with Maven, which verifies them; `pom.xml` has the exact versions.

The archive of the PostgreSQL connector is verified here instead, because not every repository has its checksum, and
without one Maven rejects everything that comes with it.
"""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

from stack.artifacts.cache import ensure, is_whole
from stack.errors import StackError
from stack.job import Job

_POM = Path(__file__).with_name("pom.xml")
_MAVEN_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

# Earlier versions lose more rows if Connect is killed among rows that share a place in the log, as those of a COPY do.
POSTGRES_PLUGIN_VERSION = "3.7.0.Final"
_POSTGRES_PLUGIN_SHA256 = "660673cbabd2f269da21409208ebd0f0d9977bd92e824fc9daa272f240e88e51"


def java_folder(cache: Path) -> Path:
    """Return the folder of jars and plugins, whose name contains a hash of `pom.xml`."""
    return cache / f"java-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"


def class_path(cache: Path) -> str:
    """Return the class path of Kafka and Connect."""
    return str(java_folder(cache) / "jars" / "*")


def postgres_plugin_folder(cache: Path) -> Path:
    """Return the folder of the PostgreSQL connector."""
    return cache / f"debezium-postgres-{POSTGRES_PLUGIN_VERSION}"


def plugin_path(cache: Path) -> str:
    """Return the folders, separated by commas, that have one subfolder per connector plugin."""
    return ",".join(str(folder) for folder in (java_folder(cache) / "plugins", postgres_plugin_folder(cache)))


def has_java(cache: Path) -> bool:
    """Whether the cache has the jars and all plugins, so that Maven is not needed."""
    return is_whole(java_folder(cache)) and is_whole(postgres_plugin_folder(cache))


def fetch_java(cache: Path, job: Job) -> None:
    """Download the jars and the connector plugins into the cache if missing."""

    def fetch(folder: Path) -> None:
        job.report("downloading Kafka and Debezium with Maven")
        # `-C` enables strict checksums: without it, Maven only warns about a damaged jar.
        command = [
            "mvn",
            "-B",
            "-q",
            "-C",
            "-f",
            str(_POM),
            f"{_MAVEN_PLUGIN}:copy-dependencies",
            f"-DoutputDirectory={folder / 'jars'}",
        ]
        job.run(command, purpose="downloading Kafka and Debezium")
        for archive in sorted((folder / "jars").glob("*-plugin.tar.gz")):
            _unpack(archive, folder / "plugins")

    ensure(cache, java_folder(cache).name, fetch, job)
    ensure(cache, postgres_plugin_folder(cache).name, lambda folder: _fetch_postgres_plugin(folder, job), job)


def _fetch_postgres_plugin(folder: Path, job: Job) -> None:
    job.report("downloading Debezium's PostgreSQL connector with Maven")
    artifact = f"io.debezium:debezium-connector-postgres:{POSTGRES_PLUGIN_VERSION}:tar.gz:plugin"
    command = ["mvn", "-B", "-q", f"{_MAVEN_PLUGIN}:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
    job.run(command, purpose="downloading Debezium's PostgreSQL connector")
    (archive,) = folder.glob("*-plugin.tar.gz")
    require_sha256(archive, _POSTGRES_PLUGIN_SHA256)
    _unpack(archive, folder)


def require_sha256(path: Path, expected: str) -> None:
    """Raise `StackError` unless the file has this SHA-256; Maven's copy of a wrong one is deleted by hand."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise StackError(
            f"{path.name} has the SHA-256 {found}, not {expected}: delete it in Maven's repository (~/.m2), try again"
        )


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
