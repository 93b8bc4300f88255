"""Small in-memory file systems that a test can fill completely; mounting them requires CAP_SYS_ADMIN."""

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
    """A small file system that is mounted at `folder`."""

    folder: Path

    def fill(self) -> None:
        """Write a file until no space is left on the disk."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(BLOCK)) == BLOCK:
                pass

    def make_room(self) -> None:
        """Delete the file that `fill` has written."""
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "40m") -> Iterator[SmallDisk]:
    """Create `folder` and mount a small in-memory file system on it for the duration of the `with` block."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
