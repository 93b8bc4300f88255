"""Goal: only a complete class-data archive is used; any other file in its place costs nothing but the gain in speed.

Method: hand-made files next to stand-ins for the jars and for Java; then a real Java writes an archive and maps it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from batch.spark.class_data_archive import java_options
from config.settings import SparkSettings

HEAD = bytes.fromhex("a8ab0bf0")


class ArchiveTestbed:
    """A cache, a folder of jars, a Java."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "cache"
        self.jars = folder / "jars"
        self.java_home = folder / "java"
        for path in (self.folder, self.jars, self.java_home / "bin"):
            path.mkdir(parents=True)
        (self.jars / "one.jar").write_text("1")
        (self.java_home / "bin" / "java").write_text("17")

    def options(self, *, records: bool = True, **more: str) -> str:
        given = {"SPARK_JARS": str(self.jars), "JAVA_HOME": str(self.java_home), "SPARK_MASTER": "local[2]", **more}
        return java_options(SparkSettings.read(given), self.folder, records=records)

    def partial(self) -> Path:
        """The file that Java writes the archive to."""
        found = self.options()
        assert "ArchiveClassesAtExit" in found
        return Path(found.split()[0].partition("=")[2])

    def whole(self) -> Path:
        """An archive that Java has written and a command has found."""
        self.partial().write_bytes(HEAD + b"classes")
        return Path(self.options().split()[0].partition("=")[2])


@pytest.fixture
def testbed(tmp_path: Path) -> ArchiveTestbed:
    return ArchiveTestbed(tmp_path)


def test_the_first_run_has_an_archive_written_and_the_next_ones_use_it(testbed: ArchiveTestbed) -> None:
    found = testbed.whole()
    assert found.read_bytes() == HEAD + b"classes"
    assert testbed.options(records=False).startswith(f"-XX:SharedArchiveFile={found} ")


def test_a_command_that_does_not_record_goes_without(testbed: ArchiveTestbed) -> None:
    assert testbed.options(records=False) == ""


@pytest.mark.parametrize("content", [b"", bytes(4) + b"classes", b"something else"])
def test_an_unfinished_archive_is_not_used_and_is_written_again(testbed: ArchiveTestbed, content: bytes) -> None:
    partial = testbed.partial()
    partial.write_bytes(content)
    assert testbed.partial() == partial


def test_an_archive_that_was_cut_off_is_not_used_and_is_written_again(testbed: ArchiveTestbed) -> None:
    whole = testbed.whole()
    whole.write_bytes(HEAD)
    assert testbed.options(records=False) == ""
    assert testbed.whole() == whole


def test_another_java_or_other_jars_have_another_archive(testbed: ArchiveTestbed) -> None:
    first = testbed.whole()
    (testbed.jars / "two.jar").write_text("2")
    second = testbed.whole()
    (testbed.java_home / "bin" / "java").write_text("17.0.1")
    assert len({first, second, testbed.whole()}) == 3


def test_there_is_none_for_a_cluster_or_without_java(testbed: ArchiveTestbed) -> None:
    assert testbed.options(SPARK_MASTER="spark://somewhere:7077") == testbed.options(JAVA_HOME="/nowhere") == ""


def test_a_cache_that_cannot_be_made_costs_nothing(testbed: ArchiveTestbed, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    testbed.folder = tmp_path / "file" / "cache"
    assert testbed.options() == ""


def test_java_itself_writes_such_a_file_and_maps_it(tmp_path: Path) -> None:
    source = tmp_path / "One.java"
    source.write_text('public class One { public static void main(String[] a) { System.out.println("one"); } }')
    jar = tmp_path / "jars" / "one.jar"
    jar.parent.mkdir()
    subprocess.run(["javac", "-d", str(tmp_path / "classes"), str(source)], check=True)
    subprocess.run(["jar", "--create", "--file", str(jar), "-C", str(tmp_path / "classes"), "."], check=True)
    settings = SparkSettings.read({"SPARK_JARS": str(jar.parent), "SPARK_MASTER": "local[2]"})

    def said(*more: str) -> str:
        options = java_options(settings, tmp_path / "cache", records=True).split()
        command = ["java", *options, *more, "-cp", str(jar), "One"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert said() == "one\n"
    assert "One source: shared objects file (top)" in said("-Xlog:class+load")
    assert said() == "one\n"
    assert len(list((tmp_path / "cache").iterdir())) == 1
