"""The interface that every local server implements."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stack.job import Job
from stack.prerequisites import Prerequisite
from stack.site import Site


class UnhealthyError(Exception):
    """Raised when a health check fails; the message gives the reason."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """The command that starts a server, without secrets in `arguments`, which every user on the machine can see.

    `user` is the user as whom the server runs if root starts it; None: the one who starts it.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str | None = None


class Server(ABC):
    """A kind of local server, such as Kafka.

    Attributes:
        port_names: names of the server's ports; clients connect to the first.
        needs: names of the servers that this server depends on.
        stop_signal: signal that ends the server gracefully.
        stop_limit_seconds: time limit for ending after this signal, before the server is killed.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_limit_seconds: ClassVar[float] = 20.0

    def prerequisites(self, site: Site) -> Sequence[Prerequisite]:
        """List the programs that must be installed on the machine to download, build or run the server."""
        return ()

    @abstractmethod
    def fetch(self, site: Site, job: Job) -> None:
        """Download or install the server's programs if missing."""

    @abstractmethod
    def prepare(self, site: Site, job: Job) -> None:
        """Write the configuration, and create the data folder if missing; idempotent."""

    @abstractmethod
    def command(self, site: Site) -> Command:
        """Return the command that starts the server; call `prepare` first."""

    @abstractmethod
    def check(self, site: Site) -> None:
        """Check the server's health.

        Raises:
            UnhealthyError: the server does not answer, or its answer is wrong.
        """

    def complete(self, site: Site) -> None:  # noqa: B027 - most servers need nothing more
        """Finish the setup once the server is healthy, for example by creating buckets; idempotent."""

    def forget(self, site: Site) -> None:  # noqa: B027 - most servers keep everything in the stack's folder
        """Delete what the server keeps outside the stack's folder; called when the stack is deleted."""

    @abstractmethod
    def environment(self, site: Site) -> dict[str, str]:
        """Return the settings with which programs reach the server, under the names that `config.settings` reads."""
