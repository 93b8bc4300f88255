"""The program `python -m stack`, including the command `demo`."""

from __future__ import annotations

import sys

from demo import command as demo
from ops.cli import main

if __name__ == "__main__":
    sys.exit(main(more=(demo,)))
