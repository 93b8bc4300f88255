"""MinIO, the lake's object storage, and the jars that Spark needs to access it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar

import urllib3
from minio import Minio
from minio.error import MinioException

from stack.artifacts.cache import is_whole
from stack.artifacts.lake.jars import fetch_lake_jars, lake_jars, lake_prerequisites
from stack.artifacts.minio import fetch_minio, minio_folder
from stack.job import Job
from stack.ports import HOST
from stack.prerequisites import GO, Prerequisite
from stack.servers.base import Command, Server, UnhealthyError
from stack.site import Site

BUCKETS = ("bronze", "silver", "gold", "processed-data")

_ANSWER_SECONDS = 3.0


class MinIO(Server):
    """The MinIO server."""

    name: ClassVar[str] = "minio"
    port_names: ClassVar[tuple[str, ...]] = ("minio",)

    def prerequisites(self, site: Site) -> list[Prerequisite]:
        """Return the prerequisites of Spark's jars, and also Go while MinIO has not been built."""
        go = [] if is_whole(minio_folder(site.cache)) else [GO]
        return go + lake_prerequisites(site.cache)

    def fetch(self, site: Site, job: Job) -> None:
        """Build MinIO and download Spark's jars if they are missing."""
        fetch_lake_jars(site.cache, job)
        fetch_minio(site.cache, job)

    def prepare(self, site: Site, job: Job) -> None:
        """Create the data folder."""
        site.data(self.name).mkdir(mode=0o700, exist_ok=True)

    def command(self, site: Site) -> Command:
        """Return the start command; its environment contains the root login."""
        program = str(minio_folder(site.cache) / "minio")
        certificates = str(site.folder / "conf" / "minio-certs")
        arguments = [
            program, "server", "--quiet", "--address", site.address("minio"), "--certs-dir", certificates,
            str(site.data(self.name)),
        ]  # fmt: skip
        environment = {
            "MINIO_ROOT_USER": site.credentials.minio_access_key,
            "MINIO_ROOT_PASSWORD": site.credentials.minio_secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        return Command(arguments=arguments, environment=environment)

    def check(self, site: Site) -> None:
        """Log in and list the buckets, because the health endpoint answers before the server can serve requests."""
        with _client(site) as client:
            client.list_buckets()

    def complete(self, site: Site) -> None:
        """Create the buckets of the lake that do not exist yet."""
        with _client(site) as client:
            for bucket in BUCKETS:
                if not client.bucket_exists(bucket):
                    client.make_bucket(bucket)

    def environment(self, site: Site) -> dict[str, str]:
        """Return MinIO's address and root login, and the folder of Spark's jars."""
        return {
            "SPARK_JARS": str(lake_jars(site.cache)),
            "MINIO_ENDPOINT": f"http://{site.address('minio')}",
            "MINIO_ACCESS_KEY": site.credentials.minio_access_key,
            "MINIO_SECRET_KEY": site.credentials.minio_secret_key,
        }


@contextlib.contextmanager
def _client(site: Site) -> Iterator[Minio]:
    # No retries: the starting server answers "retry after 60 seconds", which urllib3 would obey.
    connections = urllib3.PoolManager(timeout=urllib3.Timeout(_ANSWER_SECONDS), retries=False)
    try:
        yield Minio(
            f"{HOST}:{site.ports['minio']}",
            access_key=site.credentials.minio_access_key,
            secret_key=site.credentials.minio_secret_key,
            secure=False,
            http_client=connections,
        )
    except urllib3.exceptions.HTTPError:
        raise UnhealthyError(f"nothing answers on port {site.ports['minio']}") from None
    except MinioException as error:
        raise UnhealthyError(f"not ready: {error}") from None
    finally:
        connections.clear()
