"""Choose the ports of a stack: fixed defaults, ports given by the user, or any free ones."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from stack.errors import StackError, WrongPortsError

HOST = "127.0.0.1"

DEFAULT_PORTS: Mapping[str, int] = {
    "kafka": 19092,
    "kafka-controller": 19093,
    "connect": 18083,
    "mariadb": 13306,
    "postgres": 15432,
    "redis": 16379,
    "minio": 19000,
}

# Below the range that the kernel uses for outgoing connections, so that none of them can take a chosen port before the
# server listens on it.
_FREE_RANGE = range(20000, 32000)
_TRIES = 500

_reserved: dict[int, int] = {}  # port → file descriptor that holds its lock until this process ends


def parse_ports(text: str) -> dict[str, int]:
    """Parse a text such as `kafka=9092,redis=6379`.

    Raises:
        WrongPortsError: a server is unknown, or a port number is invalid or given twice.
    """
    ports: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = item.partition("=")
        if name not in DEFAULT_PORTS:
            raise WrongPortsError(f"--ports: unknown server {name!r}: choose from {', '.join(DEFAULT_PORTS)}")
        if not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
            raise WrongPortsError(f"--ports: {name} needs a number from 1 to 65535, not {number!r}")
        if name in ports:
            raise WrongPortsError(f"--ports: {name} is given twice")
        ports[name] = int(number)
    assert_distinct(ports)
    return ports


def assert_distinct(ports: Mapping[str, int]) -> None:
    """Raise `WrongPortsError` if two servers have the same port."""
    owners: dict[int, str] = {}
    for name, port in ports.items():
        if port in owners:
            raise WrongPortsError(f"{owners[port]} and {name} are both given port {port}; choose another with --ports")
        owners[port] = name


def free_ports(names: Iterable[str] = DEFAULT_PORTS) -> dict[str, int]:
    """Choose a free port for each name; no other process of this user can choose it until this process ends."""
    return {name: _reserve_one() for name in names}


def is_free(port: int) -> bool:
    """Whether a server can currently listen on `port` of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a port is free even if old connections are still in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _reserve_one() -> int:
    folder = Path(tempfile.gettempdir()) / f"millrace-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for _ in range(_TRIES):
        port = random.choice(_FREE_RANGE)  # noqa: S311 - not a secret
        if port in _reserved:
            continue
        reservation = _lock(folder / str(port))
        if reservation is None:
            continue
        if is_free(port):
            _reserved[port] = reservation
            return port
        os.close(reservation)
    raise StackError(f"no free port found in {_FREE_RANGE.start}-{_FREE_RANGE.stop - 1} after {_TRIES} tries")


def _lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
