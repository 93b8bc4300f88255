"""The log file of the workers: several processes write and rename it, its owner alone reads it, and none needs it."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from config import log_files
from streams import log_file

PROCESSES: Final = 3
LINES: Final = 400


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)
        handler.close()


def _work(folder: Path, number: int) -> None:
    logging.getLogger().setLevel(logging.INFO)
    asyncio.run(log_file.LogFile(folder).on_start())
    for line in range(LINES):
        logging.getLogger("worker").info("line %d-%d %s", number, line, "x" * 100)


def test_workers_share_the_file_and_no_line_is_lost_or_torn_by_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "FILE_BYTES", 60_000)
    workers = [multiprocessing.get_context("fork").Process(target=_work, args=(tmp_path, n)) for n in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    files = [path for path in tmp_path.iterdir() if path.name.startswith(log_file.NAME)]
    lines = [line for path in files for line in path.read_text().splitlines()]
    whole = [re.fullmatch(r"\S+Z INFO worker: line (\d+)-(\d+) x{100}", line) for line in lines]
    assert {(int(match[1]), int(match[2])) for match in whole if match} == {
        (number, line) for number in range(PROCESSES) for line in range(LINES)
    }
    assert len(whole) == PROCESSES * LINES
    assert 1 < len(files) <= log_files.KEPT_FILES + 1


async def test_only_its_owner_can_read_the_file_and_it_ends_with_the_service(tmp_path: Path) -> None:
    service = log_file.LogFile(tmp_path / "logs")
    await service.start()
    logging.getLogger("worker").warning("order %r", "7")
    await service.stop()
    logging.getLogger("worker").warning("order %r", "8")
    path = tmp_path / "logs" / log_file.NAME
    assert "WARNING worker: order '7'" in path.read_text()
    assert "order '8'" not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


async def test_a_folder_that_cannot_be_written_costs_the_file_and_not_the_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("")
    before = list(logging.getLogger().handlers)
    await log_file.LogFile(tmp_path / "taken").start()
    assert logging.getLogger().handlers == before
    assert str(tmp_path / "taken" / log_file.NAME) in caplog.text
