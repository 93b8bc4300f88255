"""Redis, for look-ups, the order cache and order locks; durable, because locks decide whether an order is emitted."""

from __future__ import annotations

import contextlib
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stack.artifacts.system import fetch_system, require_program
from stack.job import Job
from stack.ports import HOST
from stack.servers.base import Command, Server, UnhealthyError
from stack.site import Site

_ANSWER_SECONDS = 3.0


class Redis(Server):
    """The Redis server."""

    name: ClassVar[str] = "redis"
    port_names: ClassVar[tuple[str, ...]] = ("redis",)

    def fetch(self, site: Site, job: Job) -> None:
        """Install Redis's package if it is missing."""
        fetch_system(["redis-server"], job)

    def prepare(self, site: Site, job: Job) -> None:
        """Write the settings file, and link the program under the name `redis-server`."""
        site.data(self.name).mkdir(mode=0o700, exist_ok=True)
        site.write_secret("redis.conf", server_settings(site))
        # Without the service, Debian installs the binary under another name, and its name decides how it behaves.
        link = site.folder / "run" / "redis-server"
        link.unlink(missing_ok=True)
        link.symlink_to(require_program("redis-server"))

    def command(self, site: Site) -> Command:
        """Return the start command; the password is in the settings file."""
        return Command(arguments=[str(site.folder / "run" / "redis-server"), str(site.conf("redis.conf"))])

    def check(self, site: Site) -> None:
        """Log in and send a PING, which fails while the server is loading its data."""
        client = redis.Redis(
            host=HOST,
            port=site.ports["redis"],
            password=site.credentials.redis_password,
            socket_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),  # by default the client would try eleven times
        )
        with contextlib.closing(client):
            try:
                client.ping()
            except redis.RedisError as error:
                raise UnhealthyError(str(error)) from None

    def environment(self, site: Site) -> dict[str, str]:
        """Return the URL of Redis, including the password."""
        return {"REDIS_URL": f"redis://:{site.credentials.redis_password}@{site.address('redis')}"}


def server_settings(site: Site) -> str:
    """Build the server's settings file."""
    return f"""\
bind {HOST}
port {site.ports["redis"]}
protected-mode yes
requirepass {site.credentials.redis_password}
daemonize no
databases 16
dir "{site.data("redis")}"

# Writes are on disk within a second. No snapshots, so that there is only one file to restore from.
appendonly yes
appendfsync everysec
save ""

# Reject writes when memory is full: evicting a lock could cause an order to be emitted twice.
maxmemory-policy noeviction
"""
