"""Hooks of the website's build: what a page says about files outside `docs/` must be true there as well.

The pages link to the code, which is not part of the website. Such a link becomes the name of the file, and is an error
if the file does not exist. Pictures lie in `docs/img/`.
"""

from __future__ import annotations

import logging
import os.path
import re
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).resolve().parent
ROOT: Final = DOCS.parent

# A warning of this logger fails the build with `--strict`.
log = logging.getLogger("mkdocs.plugins.outside")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Replace the links to files outside `docs/`."""
    folder = (DOCS / page.file.src_uri).parent

    def replaced(match: re.Match[str]) -> str:
        text, target = match.groups()
        path = Path(os.path.normpath(folder / target.partition("#")[0]))
        if "://" in target or target.startswith(("#", "mailto:")) or path.is_relative_to(DOCS):
            return match.group()
        name = os.path.relpath(path, ROOT)
        if not path.exists():
            log.warning("%s links to %s, which does not exist", page.file.src_uri, name)
        return text if text.startswith("`") or not re.search(r"[./]", text) else f"`{name}`"

    return re.sub(r"(?<!!)\[([^\]\[]+)\]\(([^)\s]+)\)", replaced, markdown)
