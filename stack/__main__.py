"""`python -m stack`: the program `millrace` under its former name."""

from __future__ import annotations

import sys

from ops.cli import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m stack"))
