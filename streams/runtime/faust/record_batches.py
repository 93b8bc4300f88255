"""Reads Kafka record batches of any content: decompression within a limit, and a parser that a record cannot break.

aiokafka decompresses a batch whatever its size, and raises an error for a whole batch if the name of a single header is
not UTF-8. Brokers accept both, so a single record could otherwise stop every worker that fetches it.
"""

from __future__ import annotations

import contextlib
import mmap
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import cramjam
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.record.util import decode_varint

Headers = tuple[tuple[str, bytes | None], ...]

TRIED_RATIOS: Final = (16, 128)
"""Compression ratios for which a batch is decompressed into a small buffer; most batches need the first one."""

LZ4_MAX_RATIO: Final = 255
"""Maximum compression ratio of LZ4; a batch that stays within the limit anyway needs no buffer of its own."""

_HEADER: Final = _DefaultRecordBatchPy.HEADER_STRUCT
_ATTRIBUTES_OFFSET: Final = _DefaultRecordBatchPy.ATTRIBUTES_OFFSET
_CODEC_MASK: Final = 0x07
_LOG_APPEND_TIME_MASK: Final = 0x08
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_XERIAL_MAGIC: Final = b"\x82SNAPPY\0"
_XERIAL_HEADER_BYTES: Final = 16


class BatchTooLargeError(Exception):
    """A batch that is larger than the limit when it is decompressed."""


class BatchUnreadableError(Exception):
    """A batch that cannot be decompressed."""


class ParsedRecord(NamedTuple):
    """A record of a batch.

    Attributes:
        is_repaired: whether the record has headers that were changed or dropped, because they could not be read.
        fault: the problem with the record's structure; None if key and value could be read.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    is_repaired: bool = False
    fault: str | None = None


class RecordBatches(_MemoryRecordsPy):  # type: ignore[misc]  # final for type checkers only
    """The record batches of a fetch response, each as raw bytes and as aiokafka's batch object."""

    def next_both(self) -> tuple[memoryview, Any]:
        """Return the next batch's bytes and object; call only if `has_next()`."""
        raw = self._next_slice
        assert raw is not None
        return raw, self.next_batch()


def decompressed(raw: memoryview, batch: Any, limit: int) -> memoryview | bytes:
    """Return the uncompressed form of a batch in format version 2; `batch` is aiokafka's object for `raw`.

    Raises:
        BatchTooLargeError: the records have more than `limit` bytes.
        BatchUnreadableError: the compressed data is damaged.
    """
    codec = batch.compression_type
    if codec == DefaultRecordBatch.CODEC_NONE:
        return raw
    data = bytes(raw[_HEADER.size :])
    try:
        if codec == _GZIP:
            records: Any = _gunzip(data, limit)
        elif codec == _SNAPPY:
            records = _unsnap(data, limit)
        elif codec in (_LZ4, _ZSTD):
            records = _decompress_into(cramjam.lz4 if codec == _LZ4 else cramjam.zstd, data, limit)
        else:
            raise BatchUnreadableError(f"unknown compression codec {codec}")
    except (zlib.error, cramjam.DecompressionError, EOFError, ValueError, IndexError) as error:
        raise BatchUnreadableError(str(error)) from error
    header = bytearray(raw[: _HEADER.size])
    header[_ATTRIBUTES_OFFSET + 1] &= ~_CODEC_MASK & 0xFF
    return b"".join((header, records))


def _decompress_into(module: Any, data: bytes, limit: int) -> memoryview:
    if module is cramjam.lz4 and len(data) * LZ4_MAX_RATIO <= limit:
        return memoryview(module.decompress(data))
    for ratio in TRIED_RATIOS:
        buffer: Any = bytearray(min(limit, ratio * len(data) + 4_096))
        with contextlib.suppress(cramjam.DecompressionError):
            return memoryview(buffer)[: module.decompress_into(data, buffer)]
    buffer = mmap.mmap(-1, limit)  # its pages take memory only once they are written to
    try:
        return memoryview(buffer)[: module.decompress_into(data, buffer)]
    except cramjam.DecompressionError as error:
        raise (BatchTooLargeError() if "whole buffer" in str(error) else error) from None


def _gunzip(data: bytes, limit: int) -> bytearray:
    found = bytearray()
    while data:  # a stream may have several members
        member = zlib.decompressobj(wbits=31)
        found += member.decompress(data, limit + 1 - len(found))
        if len(found) > limit:
            raise BatchTooLargeError
        if not member.eof:
            raise EOFError("the compressed data ends too early")
        data = member.unused_data
    return found


def _unsnap(data: bytes, limit: int) -> bytes | bytearray:
    if not data.startswith(_XERIAL_MAGIC):
        return _unsnap_block(data, limit)
    found, at = bytearray(), _XERIAL_HEADER_BYTES
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found += _unsnap_block(data[at + 4 : at + 4 + size], limit - len(found))
        at += 4 + size
    return found


def _unsnap_block(data: bytes, limit: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > limit:
        raise BatchTooLargeError
    return bytes(cramjam.snappy.decompress_raw(data))


def parsed_records(raw: memoryview | bytes) -> Iterator[ParsedRecord]:
    """Yield the records of an uncompressed batch in format version 2, one at a time, whatever it contains.

    Bytes of a header's name that are not UTF-8 are replaced by `\\xNN`. A record whose structure is wrong gets a
    `fault`; if its length is wrong, too, so do all records after it in the batch.
    """
    raw = bytes(raw)
    base, _, _, _, _, attributes, _, first_ms, newest_ms, _, _, _, count = _HEADER.unpack_from(raw)
    is_logged = bool(attributes & _LOG_APPEND_TIME_MASK)
    at = _HEADER.size
    for number in range(count):
        try:
            length, begin = decode_varint(raw, at)
            if not 0 <= length <= len(raw) - begin:
                raise ValueError(f"its length of {length} bytes is out of range")
            at = begin + length
            record = _parsed(raw[begin:at], base, first_ms)
            yield record._replace(timestamp=newest_ms) if is_logged else record
        except (ValueError, IndexError) as error:
            yield ParsedRecord(base + number, newest_ms, None, None, (), fault=f"wrong record structure: {error}")


def _parsed(body: bytes, base: int, first_ms: int) -> ParsedRecord:
    milliseconds, at = decode_varint(body, 1)  # the first byte has the attributes, which are not used
    delta, at = decode_varint(body, at)
    key, at = _field(body, at)
    value, at = _field(body, at)
    headers, is_repaired = _headers(body, at)
    return ParsedRecord(base + delta, first_ms + milliseconds, key, value, headers, is_repaired)


def _field(body: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(body, at)
    if length < 0:
        return None, at
    if at + length > len(body):
        raise ValueError("a field ends after the record")
    return body[at : at + length], at + length


def _headers(body: bytes, at: int) -> tuple[Headers, bool]:
    """Return the headers that can be read, and whether any was changed or dropped."""
    found: list[tuple[str, bytes | None]] = []
    is_repaired = False
    try:
        count, at = decode_varint(body, at)
        for _ in range(count):
            raw_name, at = _field(body, at)
            value, at = _field(body, at)
            name = (raw_name or b"").decode("utf-8", "backslashreplace")
            is_repaired = is_repaired or name.encode() != raw_name
            found.append((name, value))
    except (ValueError, IndexError):
        is_repaired = True
    return tuple(found), is_repaired
