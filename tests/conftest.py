"""Settings for tests that import an application but need no server: an address where nothing answers."""

from __future__ import annotations

import os

os.environ.setdefault("KAFKA_BOOTSTRAP", "127.0.0.1:1")
