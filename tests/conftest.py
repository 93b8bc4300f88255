"""Settings for tests that import an application but need no server: addresses where nothing answers."""

from __future__ import annotations

import os

os.environ.setdefault("KAFKA_BOOTSTRAP", "127.0.0.1:1")
os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1")
os.environ.setdefault("MINIO_ENDPOINT", "http://127.0.0.1:1")
os.environ.setdefault("MINIO_ACCESS_KEY", "nobody")
os.environ.setdefault("MINIO_SECRET_KEY", "nothing")
os.environ.setdefault("WAREHOUSE_HOST", "127.0.0.1")
os.environ.setdefault("WAREHOUSE_PORT", "1")
os.environ.setdefault("WAREHOUSE_USER", "nobody")
os.environ.setdefault("WAREHOUSE_PASSWORD", "nothing")
