"""The interface that every server implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stack.job import Job
from stack.prerequisites import Prerequisite
from stack.site import Site


class UnhealthyError(Exception):
    """The health check failed; the message says how."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Command that starts a server; secrets go to files or `environment`, because every user can see the arguments."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


class Server(ABC):
    """One kind of server, such as Kafka.

    Attributes:
        port_names: names of its ports; clients connect to the first.
        needs: names of the servers that it depends on.
        stop_limit_seconds: time to end after SIGTERM, before it is killed.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    stop_limit_seconds: ClassVar[float] = 20.0

    def prerequisites(self, site: Site) -> Sequence[Prerequisite]:
        """List the programs that must be installed on the machine to download, build or run the server."""
        return ()

    @abstractmethod
    def fetch(self, site: Site, job: Job) -> None:
        """Download or install the server's programs if missing."""

    @abstractmethod
    def prepare(self, site: Site, job: Job) -> None:
        """Write the configuration and, if missing, create the data folder; idempotent."""

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
        """Finish the setup of the healthy server, such as creating buckets; idempotent."""

    @abstractmethod
    def environment(self, site: Site) -> dict[str, str]:
        """Return the settings with which programs reach the server, under the names that `config.settings` reads."""
