"""Import modules and print the side effects of the imports: `python -m tests.support.import_effects MODULE ...`.

Side effects are connections, processes and file changes. They are found through the interpreter's audit events, which
no library can bypass. Side effects that a library has while it is imported itself are ignored.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

_EFFECTS = {
    "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname",
    "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn",
    "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
}  # fmt: skip
_REPOSITORY = str(Path(__file__).resolve().parents[2])
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> int:
    """Import each module given on the command line, and print the side effects; return 1 if there are any."""
    importing = ""
    found: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[0] != os.devnull and (arguments[2] or 0) & _WRITES
        if importing and (writes or event in _EFFECTS) and _follows_from_this_repository(sys._getframe(1)):
            found.append(f"{importing}: {event} {arguments}")
            raise PermissionError(f"{event} while importing")

    sys.addaudithook(watch)
    for name in sys.argv[1:]:
        importing = name
        try:
            importlib.import_module(name)
        except PermissionError as error:
            found.append(f"{name}: {error}")
    importing = ""
    print("\n".join(found))
    return 1 if found else 0


def _follows_from_this_repository(frame: FrameType | None) -> bool:
    """Whether the innermost module that is being imported belongs to this repository."""
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    file = "" if frame is None else frame.f_code.co_filename
    return file.startswith(_REPOSITORY) and "site-packages" not in file


if __name__ == "__main__":
    sys.exit(main())
