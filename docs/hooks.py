"""Hooks of the website's build: what a page says about files outside `docs/` must be true there as well.

The pages link to the code, which is not part of the website. Such a link becomes the name of the file, and is an error
if the file does not exist. The charts in `bench/` are added to the website.
"""

from __future__ import annotations

import logging
import os.path
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File

DOCS: Final = Path(__file__).resolve().parent
ROOT: Final = DOCS.parent
PICTURES: Final = ("bench/*.png", "bench/*.svg")

# A warning of this logger fails the build with `--strict`.
log = logging.getLogger("mkdocs.plugins.outside")


def pictures() -> list[str]:
    """Return the paths of the pictures outside `docs/` that the website gets, relative to the repository."""
    return sorted(path.relative_to(ROOT).as_posix() for pattern in PICTURES for path in ROOT.glob(pattern))


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pictures to the website, under their paths in the repository."""
    for name in pictures():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Replace the links to files outside `docs/`."""
    folder = (DOCS / page.file.src_uri).parent

    def replaced(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        path = Path(os.path.normpath(folder / target.partition("#")[0]))
        if "://" in target or target.startswith(("#", "mailto:")) or path.is_relative_to(DOCS):
            return match.group()
        name = os.path.relpath(path, ROOT)
        if not path.exists():
            log.warning("%s links to %s, which does not exist", page.file.src_uri, name)
        if mark:
            return f"{mark}[{text}]({os.path.relpath(DOCS / name, folder)})"
        return text if text.startswith("`") or not re.search(r"[./]", text) else f"`{name}`"

    return re.sub(r"(!?)\[([^\]\[]+)\]\(([^)\s]+)\)", replaced, markdown)
