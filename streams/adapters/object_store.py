"""Asynchronous access to one bucket of object storage: calls run in threads, and outages raise one error type."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from streams.model.errors import SinkAwayError

CALLS_AT_A_TIME: Final = 8
"""Number of threads for calls; the event loop's own threads are kept for host name look-ups."""

CONNECT_TIMEOUT_S: Final = 3.0

ANSWER_TIMEOUT_S: Final = 8.0
"""Longest wait for an answer; with the call before it, still within the time limit of a turn's commit."""

SIGNATURE_VALID: Final = timedelta(minutes=10)

T = TypeVar("T")


class ObjectStore(Protocol):
    """Interface through which the archive uses a bucket.

    Every call may raise `SinkAwayError`, if there is no answer or the request is rejected.
    """

    @property
    def away_since(self) -> float | None:
        """Time of the first failed call of an outage, in seconds since 1970; None without an outage."""

    async def metadata(self, name: str) -> Mapping[str, str] | None:
        """User metadata of an object, None if the object does not exist."""

    async def first_names(self, folder: str, *, after: str) -> list[str]:
        """First object names in a folder that sort after `after`, in ascending order."""

    async def put_new(self, name: str, content: Callable[[], bytes], metadata: Mapping[str, str]) -> int | None:
        """Put an object under an unused name; return its size in bytes, or None if the name exists already.

        Args:
            content: returns the object's bytes; called in a thread.
        """

    async def close(self) -> None:
        """Release the connections."""


class MinioBucket:
    """A bucket of MinIO, or of any S3 storage that supports `If-None-Match`."""

    def __init__(self, endpoint: str, bucket: str, *, access_key: str, secret_key: str) -> None:
        self.away_since: float | None = None
        self._bucket = bucket
        parts = urlsplit(endpoint)
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=ANSWER_TIMEOUT_S)
        # No retries: the partition opens again instead, and first finds out whether the unanswered call took effect.
        self._connections = urllib3.PoolManager(timeout=timeout, retries=False, maxsize=CALLS_AT_A_TIME)
        self._client = Minio(
            parts.netloc,
            access_key=access_key,
            secret_key=secret_key,
            secure=parts.scheme == "https",
            http_client=self._connections,
        )
        self._threads = ThreadPoolExecutor(CALLS_AT_A_TIME, thread_name_prefix="object-store")

    async def metadata(self, name: str) -> Mapping[str, str] | None:
        """Read the metadata with a HEAD request."""
        return await self._call(lambda: self._head(name))

    async def first_names(self, folder: str, *, after: str) -> list[str]:
        """List the names in the folder."""

        def listed() -> list[str]:
            found = self._client.list_objects(self._bucket, folder, start_after=after)
            return [each.object_name for each in found if each.object_name is not None]

        return await self._call(listed)

    async def put_new(self, name: str, content: Callable[[], bytes], metadata: Mapping[str, str]) -> int | None:
        """Send a conditional PUT, as a presigned request because minio-py's `put_object` takes no condition.

        The metadata is in the signed query, where S3 accepts it as well as in headers.
        """
        return await self._call(lambda: self._put(name, content(), metadata))

    async def close(self) -> None:
        """Drop the queued calls and the idle connections; calls in progress end by themselves."""
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
            raise urllib3.exceptions.HTTPError(f"PUT was answered with {answer.status}: {answer.data[:300]!r}")
        return len(content)

    async def _call(self, call: Callable[[], T]) -> T:
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            self.away_since = self.away_since or time.time()
            raise SinkAwayError(f"object storage at {self._bucket} failed: {error}") from error
        self.away_since = None
        return answer
