"""Write the generated pages of `docs/reference/` and files of `config/`, or check that they are current.

python -m tests.support.reference            write the pages, and print the names of those that changed
python -m tests.support.reference --check    write nothing; exit code 1 if a page differs from the code
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.support.reference.pages import PAGES, ROOT, path_of, stale_pages


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the pages, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.reference", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is out of date")
    is_check = parser.parse_args(arguments).check
    stale = stale_pages()
    for name in stale:
        path = path_of(name)
        if is_check:
            print(f"{path.relative_to(ROOT)} differs from the code: run `make reference`")
        else:
            path.write_text(PAGES[name](), "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return int(is_check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
