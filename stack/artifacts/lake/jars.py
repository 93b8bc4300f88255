"""Download and verify Spark's jars with Maven, and compile the lake's log store against them."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from stack.artifacts.cache import ensure, is_whole
from stack.errors import StackError
from stack.job import Job
from stack.prerequisites import JAVA, JAVAC, MAVEN, Prerequisite

_POM = Path(__file__).with_name("pom.xml")
_LOG_STORE = Path(__file__).with_name("PutIfAbsentLogStore.java")
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def lake_jars(cache: Path) -> Path:
    """Return the folder of the jars, whose name contains a hash of `pom.xml` and the log store's source."""
    digest = hashlib.sha256(_POM.read_bytes() + _LOG_STORE.read_bytes())
    return cache / f"lake-{digest.hexdigest()[:12]}"


def lake_prerequisites(cache: Path) -> list[Prerequisite]:
    """Return Java, and also Maven and the Java compiler while the jars are not in the cache."""
    return [JAVA] if is_whole(lake_jars(cache)) else [JAVA, MAVEN, JAVAC]


def fetch_lake_jars(cache: Path, job: Job) -> Path:
    """Download Spark's jars and compile the log store into the cache if missing; return their folder."""

    def fetch(folder: Path) -> None:
        job.report("downloading Spark's jars with Maven")
        command = ["mvn", "-B", "-q", "-C", "-f", str(_POM), _COPY, f"-DoutputDirectory={folder}"]
        job.run(command, purpose="fetching Spark's jars")
        _add_log_store(folder, job)

    return ensure(cache, lake_jars(cache).name, fetch, job)


def _add_log_store(folder: Path, job: Job) -> None:
    # Hadoop's classes come with pyspark. Code compiled for Java 17 runs on every later version.
    class_path = f"{folder}/*:{_pyspark_folder()}/jars/*"
    classes = folder / "classes"
    compiling = ["javac", "-Xlint:-options", "--release", "17", "-cp", class_path, "-d", str(classes), str(_LOG_STORE)]
    job.run(compiling, purpose="compiling the log store")
    packing = ["jar", "--create", "--file", str(folder / "millrace-lake.jar"), "-C", str(classes), "."]
    job.run(packing, purpose="packing the log store")
    for file in sorted(classes.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    classes.rmdir()


def _pyspark_folder() -> str:
    # Located without importing it: only batch code may import pyspark.
    found = importlib.util.find_spec("pyspark")
    places = found.submodule_search_locations if found else None
    if not places:
        raise StackError("pyspark is not installed: run `make` again, or install requirements.lock")
    return str(places[0])
