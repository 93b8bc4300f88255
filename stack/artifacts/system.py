"""Find MariaDB, PostgreSQL and Redis on the machine, or install their system packages with apt-get if possible.

Only packages without a service are installed, so that no server starts automatically, now or after a reboot. Redis
comes from Debian's package `redis-tools`, which contains its only binary; the package `redis-server` adds only a link
to this binary and the service. PostgreSQL's package has a service, but it starts only clusters, and none is made.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from stack.errors import StackError
from stack.job import Job

_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_POSTGRES_VERSIONS = Path("/usr/lib/postgresql")
_PROGRAM_PACKAGES = {
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "mariadb": "mariadb-client-core",
    "redis-server": "redis-tools",
    "postgres": "postgresql",
    "initdb": "postgresql",
    "psql": "postgresql",
}
# Debian's package makes a cluster, and starts it now and at every boot, unless this file says otherwise.
_CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.conf")
_APT_OPTIONS = ("-o", "DPkg::Lock::Timeout=300", "-q", "-y", "--no-install-recommends")
_one_at_a_time = threading.Lock()


def find_program(name: str) -> str | None:
    """Find an installed program, even in folders that are not on an ordinary user's PATH."""
    if _PROGRAM_PACKAGES.get(name) == "postgresql":  # psql on the PATH is a script that chooses a version by itself
        return shutil.which(name, path=os.pathsep.join(_postgres_folders())) or shutil.which(name)
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if found is None and name == "redis-server":
        return find_program("redis-check-rdb")  # the same binary, which behaves according to its name
    return found


def require_program(name: str) -> str:
    """Return the path of an installed program.

    Raises:
        StackError: the program is not installed; the message has the command that installs it.
    """
    found = find_program(name)
    if found is None:
        raise StackError(f"{name} is not installed; run as root: {_install_command([name])}")
    return found


def fetch_system(programs: list[str], job: Job) -> None:
    """Install the given programs that are missing.

    Raises:
        StackError: programs cannot be installed by this user; the message has the command to run as root.
    """
    with _one_at_a_time:
        missing = [name for name in programs if find_program(name) is None]
        if not missing:
            return
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise StackError(f"{', '.join(missing)} not installed; run as root: {_install_command(missing)}")
        job.report(f"installing {' '.join(_packages(missing))}")
        _apt_install(_packages(missing), job)
    for name in programs:
        require_program(name)


def _postgres_folders() -> list[str]:
    """Return the folders of PostgreSQL's programs, those of the newest version first."""
    versions = [path for path in _POSTGRES_VERSIONS.glob("*") if path.name.isdecimal()]
    return [str(path / "bin") for path in sorted(versions, key=lambda path: int(path.name), reverse=True)]


def _apt_install(packages: list[str], job: Job) -> None:
    if "postgresql" in packages and not _CLUSTER_SETTINGS.exists():
        _CLUSTER_SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        _CLUSTER_SETTINGS.write_text("create_main_cluster = false\n")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", *_APT_OPTIONS, *packages]
    purpose = f"installing {' '.join(packages)}"
    # An interrupted installation would leave the system's packages half configured.
    try:
        job.run(install, environment=quiet, purpose=purpose, to_its_end=True)
    except StackError:  # the package lists are missing or too old
        job.run(["apt-get", "update", "-q"], environment=quiet, purpose="updating the package lists")
        job.run(install, environment=quiet, purpose=purpose, to_its_end=True)


def _packages(programs: list[str]) -> list[str]:
    return sorted({_PROGRAM_PACKAGES[name] for name in programs})


def _install_command(programs: list[str]) -> str:
    return f"apt-get install --no-install-recommends {' '.join(_packages(programs))}"
