"""The accessibility checker axe-core (MPL-2.0), from npm in one version; it is used in tests only."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Final

from stack.artifacts.cache import ensure
from stack.job import Job
from tests.support.browser import APT_OPTIONS, INSTALL_S, Browser

VERSION: Final = "4.11.0"
SHA256: Final = "39bed7d72308f6d620789c169d699bfd7e8da80f65b545821a6b2215c3e83107"
SERIOUS: Final = ("serious", "critical")
_FILE: Final = "axe.min.js"


def axe_script(cache: Path, job: Job) -> str:
    """Return the text of axe-core, which is fetched once."""
    return (ensure(cache, f"axe-core-{VERSION}", _fetch, job) / _FILE).read_text(encoding="utf-8")


def _fetch(folder: Path) -> None:
    if shutil.which("npm") is None:
        command = ["apt-get", "install", "-q", "-y", *APT_OPTIONS, "npm"]
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S)
    pack = ["npm", "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", str(folder)]
    subprocess.run(pack, check=True, capture_output=True, timeout=INSTALL_S)
    archive = folder / f"axe-core-{VERSION}.tgz"
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert found == SHA256, f"{archive.name} has another content: {found}"
    with tarfile.open(archive) as tar:
        member = tar.extractfile(f"package/{_FILE}")
        assert member is not None
        (folder / _FILE).write_bytes(member.read())
    archive.unlink()


def serious_faults(browser: Browser, script: str) -> list[str]:
    """Return the serious and critical violations on the page as it is now: rule, and the first element of each."""
    browser.value(f"{script}; undefined")
    found: list[dict[str, Any]] = browser.result("axe.run().then(done => JSON.parse(JSON.stringify(done.violations)))")
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found if each["impact"] in SERIOUS]
