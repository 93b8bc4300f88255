"""The programs of Kafka Connect: what is unpacked is what was expected, and Maven is needed only if something lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.artifacts.cache import write_manifest
from stack.artifacts.java import has_java, java_folder, postgres_plugin_folder, require_sha256
from stack.errors import StackError


def test_an_archive_with_another_content_is_not_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "plugin.tar.gz"
    archive.write_bytes(b"abc")
    require_sha256(archive, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    archive.write_bytes(b"abd")
    with pytest.raises(StackError, match=r"plugin\.tar\.gz"):
        require_sha256(archive, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_the_cache_is_complete_only_with_every_plugin(tmp_path: Path) -> None:
    found = [has_java(tmp_path)]
    for folder in (java_folder(tmp_path), postgres_plugin_folder(tmp_path)):
        folder.mkdir()
        (folder / "some.jar").touch()
        write_manifest(folder)
        found.append(has_java(tmp_path))
    assert found == [False, False, True]
