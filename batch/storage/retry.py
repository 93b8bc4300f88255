"""Runs work that depends on a server, in up to three attempts; the final error names the server and a remedy.

The work must be safe to repeat. This is true of the layers, since each continues from the progress in its table.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from batch.errors import BatchError, StorageError
from config.engines import ENGINES
from config.tls import certificate_fault

Result = TypeVar("Result")

PAUSES_S = (1.0, 4.0)
"""Pauses before the second and the third attempt, in seconds."""

log = logging.getLogger("batch.storage.retry")


@dataclass(frozen=True)
class _Fault:
    """A kind of failure, recognised by the type names and messages of an exception and its causes.

    Attributes:
        pattern: regular expression that finds a type name or message of this failure.
        text: message of the error to raise instead, including a remedy.
        is_passing: whether the failure may be temporary, so that a retry may succeed.
        error: type of the error to raise instead.
        server: the server, if it can be that its certificate is the reason.
        ca: setting with the file of the server's certificate authority.
        address: setting with the server's address.
    """

    pattern: re.Pattern[str]
    text: str
    is_passing: bool
    error: type[BatchError] = BatchError
    server: str = ""
    ca: str = ""
    address: str = ""

    def in_particular(self, texts: str) -> _Fault:
        """Return the fault in the server's certificate, if it has one, else this one."""
        reason = certificate_fault(texts, ca=self.ca, address=self.address) if self.server else None
        if reason is None:
            return self
        return replace(self, text=f"{self.server} was refused: {reason}", is_passing=False, error=BatchError)


_LOGINS = tuple(
    _Fault(
        re.compile(words.no_login),
        f"the database rejects the login: check {words.login}, and grant the user {words.rights}",
        is_passing=False,
    )
    for words in (engine.words for engine in ENGINES.values())
)
_ABSENCES = tuple(
    _Fault(
        re.compile(words.away),
        f"the database does not answer: check that it is running and that {words.address} are right",
        is_passing=True,
        server="the database",
        ca=words.ca,
        address=words.address,
    )
    for words in (engine.words for engine in ENGINES.values())
)
_FAULTS = (
    *_LOGINS,
    *_ABSENCES,
    _Fault(
        re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|Status Code: 403|AccessDenied|the necessary privileges"),
        "the object storage rejects the login: check MINIO_ACCESS_KEY and MINIO_SECRET_KEY",
        is_passing=False,
    ),
    _Fault(
        re.compile(r"NoSuchBucket|UnknownStoreException"),
        "the bucket does not exist: create the buckets of BRONZE_ROOT, SILVER_ROOT, GOLD_ROOT and PROCESSED_ROOT",
        is_passing=False,
    ),
    _Fault(
        re.compile(r"XMinioStorageFull|Status Code: 507|AWSStatus507Exception"),
        "the object storage is full: free some space or enlarge its disk, then run the command again",
        is_passing=False,
        error=StorageError,
    ),
    _Fault(
        re.compile(
            r"AWSClientIOException|SdkClientException|AWSServiceIOException|AWSStatus500Exception|urllib3\."
            r"|Generic S3 error"
        ),
        "the object storage does not answer: check that it is running and that MINIO_ENDPOINT is right",
        is_passing=True,
        error=StorageError,
        server="the object storage",
        ca="MINIO_CA_FILE",
        address="MINIO_ENDPOINT",
    ),
)


def with_tries(
    work: Callable[[], Result], *, layer: str, table: str, pause: Callable[[float], None] = time.sleep
) -> Result:
    """Run `work` and return its result, retrying it up to twice if a server does not answer.

    Raises:
        BatchError: a server still does not answer or rejects the request; the message names layer, table and remedy.
    """
    for seconds in (*PAUSES_S, None):
        try:
            return work()
        except BatchError:
            raise
        except Exception as error:
            fault = _fault_of(error)
            if fault is None:
                raise
            if seconds is None or not fault.is_passing:
                raise fault.error(fault.text, layer=layer, table=table) from error
        log.warning("%s/%s: %s; trying again in %g s", layer, table, fault.text, seconds)
        pause(seconds)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _fault_of(error: BaseException) -> _Fault | None:
    texts = "\n".join(_error_texts(error))
    return next((fault.in_particular(texts) for fault in _FAULTS if fault.pattern.search(texts)), None)


def _error_texts(error: BaseException) -> Iterator[str]:
    """Yield the type names and messages of an error and its causes, including Java exceptions."""
    seen: BaseException | None = error
    while seen is not None:
        yield f"{type(seen).__module__}.{type(seen).__name__}: {seen}"
        java: Any = getattr(seen, "java_exception", None) or getattr(seen, "_origin", None)
        while java is not None:
            yield str(java.toString())
            java = java.getCause()
        seen = seen.__cause__
