"""Reads and writes small objects outside the lake's tables, such as manifests, atomically and without Spark."""

from __future__ import annotations

import functools
import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from batch.errors import BatchError
from config.settings import ObjectStoreSettings
from config.tls import certificate_fault

TRIES: Final = 3
FIRST_PAUSE_S: Final = 0.5
ANSWER_S: Final = 10.0
_VERSIONED: Final = ("Enabled", "Suspended")
_NOTED: Final = "x-amz-meta-"

T = TypeVar("T")


class ObjectFolder(Protocol):
    """A folder in the object storage or on a local disk, whose objects are read and written by name."""

    def names(self, *, after: str = "") -> list[str]:
        """Return the names of the objects in this folder, sorted; with `after`, only names that sort after it."""
        ...

    def folders(self) -> list[str]:
        """Return the sorted names of the subfolders."""
        ...

    def metadata(self, name: str) -> Mapping[str, str]:
        """Return the user metadata of an object, with keys in lower case.

        Raises:
            FileNotFoundError: the folder has no object with this name.
        """
        ...

    def read(self, name: str) -> bytes:
        """Return the content of an object.

        Raises:
            FileNotFoundError: the folder has no object with this name.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write an object, overwriting any object with the same name."""
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Replace the content of an existing object, keeping its metadata."""
        ...

    def remove(self, name: str) -> None:
        """Delete an object; it may be gone already."""
        ...

    def keeps_versions(self) -> bool:
        """Whether the storage keeps former contents of objects that are replaced or deleted."""
        ...


def object_folder(uri: str, store: ObjectStoreSettings) -> ObjectFolder:
    """Return the folder at an `s3a://`, `s3://` or `file://` URI or a local path.

    Raises:
        BatchError: the URI has another scheme, which only Spark could read.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("s3a", "s3"):
        return StoredFolder(store, parts.netloc, parts.path.strip("/"))
    if parts.scheme in ("file", ""):
        return LocalFolder(Path(parts.path))
    raise BatchError(f"unsupported location {uri}: use an s3a:// or file:// URI (for manifests of runs, in GOLD_ROOT)")


class StoredFolder:
    """A folder in a bucket; calls that cannot reach the object storage are tried up to three times."""

    def __init__(self, store: ObjectStoreSettings, bucket: str, folder: str) -> None:
        self._endpoint = store.endpoint
        self._bucket, self._prefix = bucket, f"{folder}/" if folder else ""
        self._client = _client(store)

    def names(self, *, after: str = "") -> list[str]:
        """Return the names of the objects in this folder, sorted; with `after`, only names that sort after it."""
        return self._listed(after, is_folder=False)

    def folders(self) -> list[str]:
        """Return the sorted names of the subfolders."""
        return [name.rstrip("/") for name in self._listed("", is_folder=True)]

    def _listed(self, after: str, *, is_folder: bool) -> list[str]:
        def listed() -> list[str]:
            start = f"{self._prefix}{after}" if after else None
            found = self._client.list_objects(self._bucket, prefix=self._prefix, start_after=start)
            return [str(each.object_name).removeprefix(self._prefix) for each in found if each.is_dir == is_folder]

        return sorted(self._tried(listed))

    def metadata(self, name: str) -> Mapping[str, str]:
        """Return the user metadata of an object, with keys in lower case."""

        def noted() -> Mapping[str, str] | None:
            try:
                found = self._client.stat_object(self._bucket, f"{self._prefix}{name}").metadata or {}
            except S3Error as error:
                if error.code == "NoSuchKey":
                    return None
                raise
            return {key.lower().removeprefix(_NOTED): value for key, value in found.items()}

        found = self._tried(noted)
        if found is None:
            raise FileNotFoundError(name)
        return found

    def read(self, name: str) -> bytes:
        """Return the content of an object."""

        def content() -> bytes | None:
            try:
                with self._client.get_object(self._bucket, f"{self._prefix}{name}") as answer:
                    return bytes(answer.read())
            except S3Error as error:
                if error.code == "NoSuchKey":
                    return None
                raise

        found = self._tried(content)
        if found is None:
            raise FileNotFoundError(name)
        return found

    def write(self, name: str, content: bytes) -> None:
        """Write an object, overwriting any object with the same name."""
        self._tried(
            lambda: self._client.put_object(
                self._bucket, f"{self._prefix}{name}", io.BytesIO(content), len(content), "application/json"
            )
        )

    def replace(self, name: str, content: bytes) -> None:
        """Replace the content of an existing object, keeping its metadata."""

        def put() -> None:
            path, mark = f"{self._prefix}{name}", "x-amz-meta-"
            found = self._client.stat_object(self._bucket, path)
            own = {key.lower(): text for key, text in (found.metadata or {}).items() if key.lower().startswith(mark)}
            kind = found.content_type or "application/octet-stream"
            self._client.put_object(self._bucket, path, io.BytesIO(content), len(content), kind, metadata={**own})

        self._tried(put)

    def remove(self, name: str) -> None:
        """Delete an object; it may be gone already."""
        self._tried(lambda: self._client.remove_object(self._bucket, f"{self._prefix}{name}"))

    def keeps_versions(self) -> bool:
        """Whether the bucket is versioned, or was and may still have former versions."""
        return self._tried(lambda: self._client.get_bucket_versioning(self._bucket).status) in _VERSIONED

    def _tried(self, call: Callable[[], T]) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                return call()
            except S3Error as error:
                raise BatchError(self._error_text(error)) from None
            except (urllib3.exceptions.HTTPError, MinioException, OSError) as error:
                if refused := certificate_fault(str(error), ca="MINIO_CA_FILE", address="MINIO_ENDPOINT"):
                    raise BatchError(f"the object storage at {self._endpoint} was refused: {refused}") from None
                if attempt == TRIES:
                    what = f"cannot reach the object storage at {self._endpoint} ({type(error).__name__})"
                    raise BatchError(f"{what}: check that it is running, then run the command again") from None
                time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _error_text(self, error: S3Error) -> str:
        where = f"the object storage at {self._endpoint}"
        if error.code == "NoSuchBucket":
            return f"{where} has no bucket {self._bucket!r}: create it, or change the root of the layer"
        if error.code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            return f"{where} rejects the login: check MINIO_ACCESS_KEY and MINIO_SECRET_KEY"
        if error.code == "XMinioStorageFull":
            return f"{where} is full: free some space or enlarge its disk, then run the command again"
        return f"{where}: {error.message or error.code}"


@functools.lru_cache(maxsize=4)
def _client(store: ObjectStoreSettings) -> Minio:
    """Return the client that all folders of a store share; another client would look up the bucket again."""
    parts = urlsplit(store.endpoint)
    return Minio(
        parts.netloc,
        access_key=store.access_key,
        secret_key=store.secret_key,
        secure=parts.scheme == "https",
        # By default, the client itself would make five attempts, with pauses in between.
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(ANSWER_S), retries=False, ssl_context=store.ssl_context()
        ),
    )


class LocalFolder:
    """A folder on the local disk, in which each file is one object."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self, *, after: str = "") -> list[str]:
        """Return the names in this folder, sorted; with `after`, only names that sort after it."""
        if not self._folder.is_dir():
            return []
        return sorted(p.name for p in self._folder.iterdir() if not p.name.startswith(".") and p.name > after)

    def folders(self) -> list[str]:
        """Return the sorted names of the subfolders."""
        return [name for name in self.names() if (self._folder / name).is_dir()]

    def metadata(self, name: str) -> Mapping[str, str]:
        """Return an empty mapping for an existing file, because files have no user metadata."""
        (self._folder / name).stat()
        return {}

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return (self._folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically, overwriting any file with the same name."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{name}.{os.getpid()}"
        partial.write_bytes(content)
        partial.replace(self._folder / name)

    def replace(self, name: str, content: bytes) -> None:
        """Replace the content of a file, which has no user metadata to keep."""
        self.write(name, content)

    def remove(self, name: str) -> None:
        """Delete a file; it may be gone already."""
        (self._folder / name).unlink(missing_ok=True)

    def keeps_versions(self) -> bool:
        """Return False: a file system keeps no former contents."""
        return False
