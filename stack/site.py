"""Folder, ports and credentials of one stack.

<folder>/stack.json          ports, and the servers that belong to the stack
<folder>/credentials.json    passwords, generated once, readable by the owner only
<folder>/{data,conf,run}/    data, generated configuration and process record of each server
<folder>/logs/<server>.log   output of a server
/var/tmp/millrace-<server>-…  data of a server that cannot run as root, if root runs the stack
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import secrets
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from config.settings import CacheSettings
from stack.errors import StackError
from stack.ports import HOST

REPOSITORY = Path(__file__).resolve().parents[1]
# The kernel limits the path of a unix socket to 108 bytes, including the terminating zero.
_SOCKET_PATH_BYTES = 107
_LASTING = Path("/var/tmp")  # noqa: S108 - the folder is checked


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The generated passwords and keys of one stack."""

    mysql_password: str = field(repr=False)
    connector_password: str = field(repr=False)
    postgres_password: str = field(repr=False)
    postgres_batch_password: str = field(repr=False)
    postgres_superuser_password: str = field(repr=False)
    redis_password: str = field(repr=False)
    minio_access_key: str = field(repr=False)
    minio_secret_key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Folder, ports and credentials of one stack."""

    folder: Path
    ports: Mapping[str, int]
    credentials: Credentials
    cache: Path

    def data(self, server: str) -> Path:
        """Return the data folder of a server."""
        return self.folder / "data" / server

    def conf(self, name: str) -> Path:
        """Return the path of a generated configuration file."""
        return self.folder / "conf" / name

    def log(self, server: str) -> Path:
        """Return the path of the file with a server's output."""
        return self.folder / "logs" / f"{server}.log"

    def record(self, server: str) -> Path:
        """Return the path of a server's process record."""
        return self.folder / "run" / f"{server}.json"

    def address(self, port_name: str) -> str:
        """Return the address `host:port` of a port, given by its name."""
        return f"{HOST}:{self.ports[port_name]}"

    def socket_folder(self) -> Path:
        """Return the folder for unix sockets: in the stack's folder, or a temporary folder if that path is too long."""
        inside = self.folder / "run"
        if len(os.fsencode(inside / "mariadb.sock")) <= _SOCKET_PATH_BYTES:
            return inside
        return Path(tempfile.gettempdir()) / f"millrace-{os.getuid()}-{self._digest()}"

    def service_folder(self, server: str, user: str | None) -> Path:
        """Return the folder with the data of a server that runs as `user`; None: the user who runs the stack.

        Another user might not be able to reach a folder in that of the stack, so the folder is in the system's place
        for files that outlive a restart of the machine.
        """
        return self.data(server) if user is None else _LASTING / f"millrace-{server}-{os.getuid()}-{self._digest()}"

    def make_service_folder(self, server: str, user: str | None) -> Path:
        """Create the folder of a server that runs as `user`, if it is missing, and return it.

        Raises:
            StackError: there is no such user, or somebody else made the folder.
        """
        folder = self.service_folder(server, user)
        folder.mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            found = folder.lstat()
            try:
                owner = pwd.getpwnam(user)
            except KeyError:
                raise StackError(f"there is no user {user!r}, as whom {server} must run: create it") from None
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.getuid(), owner.pw_uid):
                raise StackError(f"{folder} belongs to another user: remove it")
            os.chown(folder, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        return folder

    def _digest(self) -> str:
        return hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]

    def make_folders(self) -> None:
        """Create the stack's folders, accessible only to their owner (mode 0700)."""
        for name in ("data", "conf", "run", "logs"):
            (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        sockets = self.socket_folder()
        sockets.mkdir(mode=0o700, exist_ok=True)
        found = sockets.lstat()
        # The name in the shared temporary folder is predictable, so another user may have created it first.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise StackError(f"{sockets} belongs to another user: remove it, or choose a shorter folder for the stack")

    def write_secret(self, name: str, text: str) -> Path:
        """Write a configuration file that only the owner can read."""
        path = self.conf(name)
        write_private(path, text)
        return path


def load_or_create_site(folder: Path, ports: Mapping[str, int]) -> Site:
    """Load the site at `folder`; generate its credentials if they do not exist yet."""
    path = folder / "credentials.json"
    known: dict[str, str] = {}
    if path.exists():
        try:
            known = json.loads(path.read_text())
            # A stack of a former release lacks the passwords of servers that were added since.
            credentials = replace(_new_credentials(), **known)
        except (ValueError, TypeError):
            raise StackError(f"{path} is damaged: delete {folder} to start over; its data is lost") from None
    else:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        credentials = _new_credentials()
    if asdict(credentials) != known:
        write_private(path, json.dumps(asdict(credentials), indent=2))
    return Site(folder=folder, ports=dict(ports), credentials=credentials, cache=CacheSettings.read().expanded())


def write_private(path: Path, text: str) -> None:
    """Write or replace a file atomically, so that only its owner can ever read it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _new_credentials() -> Credentials:
    return Credentials(
        mysql_password=secrets.token_hex(16),
        connector_password=secrets.token_hex(16),
        postgres_password=secrets.token_hex(16),
        postgres_batch_password=secrets.token_hex(16),
        postgres_superuser_password=secrets.token_hex(16),
        redis_password=secrets.token_hex(16),
        minio_access_key=secrets.token_hex(10),
        minio_secret_key=secrets.token_hex(20),
    )
