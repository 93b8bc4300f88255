"""The interface of every server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stack.job import Job
from stack.prerequisites import Prerequisite
from stack.site import Site


class UnhealthyError(Exception):
    """The server does not answer as it should; the message says how."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Command that starts a server. Secrets are in files or in `environment`: arguments are visible to every user."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


class Server(ABC):
    """One kind of server."""

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    stop_limit_seconds: ClassVar[float] = 20.0

    def prerequisites(self, site: Site) -> Sequence[Prerequisite]:
        """Programs of the machine that are needed now to download or run this server."""
        return ()

    @abstractmethod
    def fetch(self, site: Site, job: Job) -> None:
        """Download or install the server's programs if missing."""

    @abstractmethod
    def prepare(self, site: Site, job: Job) -> None:
        """Write configuration and, the first time, the data folder; idempotent."""

    @abstractmethod
    def command(self, site: Site) -> Command:
        """Return the command that starts it, after `prepare`."""

    @abstractmethod
    def check(self, site: Site) -> None:
        """Check its health.

        Raises:
            UnhealthyError: it does not answer, or not as it should.
        """

    def complete(self, site: Site) -> None:  # noqa: B027 - most servers need nothing more
        """Bring the healthy server to the state that the project expects; idempotent."""

    @abstractmethod
    def environment(self, site: Site) -> dict[str, str]:
        """Return the settings with which programs reach it, by the names that `config.settings` reads."""
