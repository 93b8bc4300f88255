"""Asynchronous access to an object storage bucket: calls run in threads, and failures raise `SinkAwayError`."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from config.tls import certificate_fault
from streams.model.errors import SinkAwayError

CALLS_AT_A_TIME: Final = 8
"""Maximum number of concurrent calls; they use a separate thread pool, so that they cannot delay DNS lookups."""

CONNECT_TIMEOUT_S: Final = 3.0

ANSWER_TIMEOUT_S: Final = 8.0
"""Read timeout of a request; two requests in a row still fit into the time limit of a commit."""

SIGNATURE_VALID: Final = timedelta(minutes=10)

T = TypeVar("T")


class ObjectStore(Protocol):
    """Interface through which the archive uses a bucket.

    Its methods raise `SinkAwayError` if the storage does not answer or rejects the request.
    """

    @property
    def away_since(self) -> float | None:
        """Start of the current outage, as Unix time in seconds; None if there is no outage."""

    async def metadata(self, name: str) -> Mapping[str, str] | None:
        """Return the user metadata of an object, or None if the object does not exist."""

    async def first_names(self, folder: str, *, after: str) -> list[str]:
        """Return the object names in a folder that sort after `after`, in ascending order."""

    async def put_new(self, name: str, content: Callable[[], bytes], metadata: Mapping[str, str]) -> int | None:
        """Create an object and return its size in bytes; if the name already exists, write nothing and return None.

        Args:
            content: function that returns the object's bytes; it is called in a worker thread.
        """

    async def close(self) -> None:
        """Close the connections to the storage."""


class MinioBucket:
    """A bucket in MinIO, or in another S3 storage that supports conditional PUT requests (`If-None-Match`)."""

    def __init__(
        self, endpoint: str, bucket: str, *, access_key: str, secret_key: str, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self.away_since: float | None = None
        self._bucket = bucket
        parts = urlsplit(endpoint)
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=ANSWER_TIMEOUT_S)
        # No retries: after a failure the partition is reopened, and then checks whether the failed call took effect.
        self._connections = urllib3.PoolManager(
            timeout=timeout, retries=False, maxsize=CALLS_AT_A_TIME, ssl_context=ssl_context
        )
        self._client = Minio(
            parts.netloc,
            access_key=access_key,
            secret_key=secret_key,
            secure=parts.scheme == "https",
            http_client=self._connections,
        )
        self._threads = ThreadPoolExecutor(CALLS_AT_A_TIME, thread_name_prefix="object-store")

    async def metadata(self, name: str) -> Mapping[str, str] | None:
        """Read the user metadata of an object with a HEAD request; return None if the object does not exist."""
        return await self._call(lambda: self._head(name))

    async def first_names(self, folder: str, *, after: str) -> list[str]:
        """List the object names in a folder that sort after `after`."""

        def listed() -> list[str]:
            found = self._client.list_objects(self._bucket, folder, start_after=after)
            return [each.object_name for each in found if each.object_name is not None]

        return await self._call(listed)

    async def put_new(self, name: str, content: Callable[[], bytes], metadata: Mapping[str, str]) -> int | None:
        """Create an object with a conditional PUT; return its size in bytes, or None if the name already exists.

        The request is presigned, because minio-py's `put_object` does not support conditions. The metadata is passed in
        the signed query, which S3 accepts as an alternative to headers.
        """
        return await self._call(lambda: self._put(name, content(), metadata))

    async def close(self) -> None:
        """Cancel queued calls and close idle connections; calls in progress run to completion."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._connections.clear()

    def _head(self, name: str) -> Mapping[str, str] | None:
        try:
            headers = self._client.stat_object(self._bucket, name).metadata or {}
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise
        mark = "x-amz-meta-"
        return {key.lower().removeprefix(mark): text for key, text in headers.items() if key.lower().startswith(mark)}

    def _put(self, name: str, content: bytes, metadata: Mapping[str, str]) -> int | None:
        query = {f"x-amz-meta-{key}": text for key, text in metadata.items()}
        url = self._client.get_presigned_url(
            "PUT", self._bucket, name, expires=SIGNATURE_VALID, extra_query_params={**query}
        )
        answer = self._connections.request("PUT", url, body=content, headers={"If-None-Match": "*"})
        if answer.status == 412:
            return None
        if answer.status != 200:
            raise urllib3.exceptions.HTTPError(f"PUT of {name} returned status {answer.status}: {answer.data[:300]!r}")
        return len(content)

    async def _call(self, call: Callable[[], T]) -> T:
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            self.away_since = self.away_since or time.time()
            reason = certificate_fault(str(error), ca="MINIO_CA_FILE", address="MINIO_ENDPOINT") or error
            raise SinkAwayError(f"request to object storage bucket {self._bucket} failed: {reason}") from error
        self.away_since = None
        return answer
