"""Small disks: file systems in memory that a test can fill completely. Mounting one needs CAP_SYS_ADMIN."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096


def may_mount() -> bool:
    """Whether this process is allowed to mount file systems (CAP_SYS_ADMIN)."""
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(status["CapEff"], 16) >> 21 & 1)


@dataclass(frozen=True)
class SmallDisk:
    """A disk that is mounted at `folder`."""

    folder: Path

    def fill(self) -> None:
        """Leave no space at all."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(BLOCK)) == BLOCK:
                pass

    def make_room(self) -> None:
        """Take back what `fill` has written."""
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "40m") -> Iterator[SmallDisk]:
    """Have a folder on a disk of its own, which is gone with all that is on it when this ends."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
