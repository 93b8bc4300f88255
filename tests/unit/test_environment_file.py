"""Goal: a file of settings is read as it was written, and a mistake in it is named with its line."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.environment_file import format_settings, read_environment_file, write_environment_file
from config.errors import UsageError

NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")))


@given(settings=st.dictionaries(NAMES, VALUES))
def test_what_is_written_is_read(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("settings") / ".env"
    write_environment_file(file, settings)
    assert read_environment_file(file) == settings


def test_only_the_owner_can_read_it_and_a_former_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("OLD=1\n")
    file.chmod(0o644)
    write_environment_file(file, {"A": "a b"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == format_settings({"A": "a b"}) == "A='a b'\n"
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("A=1\n\n# more\nA=2\n", ":4: A is set twice; the first time in line 1"),
        ("A=1\nB\n", ":2: not a setting: write NAME=value"),
        ("A=x\0\n", ":1: A: contains a zero byte"),
        ("A='x\n", ":1: A: a quotation mark is not closed"),
        ("A=x y\n", ":1: A: put the value in quotation marks"),
        (b"A=\xff\n", ": cannot be read: the file is not UTF-8 text"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str | bytes, fault: str, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as raised:
        read_environment_file(file)
    assert str(raised.value).startswith(f"{file}{fault}")


def test_a_file_that_is_not_there_or_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="missing: cannot be read: No such file"):
        read_environment_file(tmp_path / "missing")
    with pytest.raises(UsageError, match=r"folder/\.env: cannot be written: No such file"):
        write_environment_file(tmp_path / "folder" / ".env", {})


def test_shell_lines_and_comments_are_taken(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("export A='x y'  # a comment\nB=\n")
    assert read_environment_file(file) == {"A": "x y", "B": ""}


def test_a_file_from_another_system_is_read(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert read_environment_file(file) == {"A": "1", "B": "2"}


def test_what_is_not_a_file_is_not_replaced_and_no_password_is_left_beside_it(tmp_path: Path) -> None:
    folder, pipe = tmp_path / "folder", tmp_path / "pipe"
    folder.mkdir()
    os.mkfifo(pipe)
    for path in (folder, pipe):
        with pytest.raises(UsageError, match="cannot be written: it is not a file"):
            write_environment_file(path, {"A": "secret"})
    assert pipe.is_fifo()
    assert {*tmp_path.iterdir()} == {folder, pipe}


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(UsageError, match="No space left"):
        write_environment_file(tmp_path / ".env", {"A": "secret"})
    assert [*tmp_path.iterdir()] == []
