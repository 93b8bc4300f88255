"""The partition of a key, by the hash function of Kafka's default partitioner (murmur2).

The turns of a partition need it for each new key, and librdkafka's function takes 0.5 µs instead of the 15 µs of
aiokafka's, which is written in Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

from aiokafka.partitioner import murmur2
from confluent_kafka import cimpl

PartitionOf = Callable[[bytes, int], int]
"""A function that returns the partition of a key, given the number of partitions."""


def _in_python(key: bytes, partitions: int) -> int:
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def _fastest() -> PartitionOf:
    try:
        # Symbols are also looked up in librdkafka, with which this module is linked. `PyDLL` keeps the GIL: a call is
        # far shorter than a change of threads.
        hashed: Any = ctypes.PyDLL(cimpl.__file__).rd_kafka_msg_partitioner_murmur2
    except (OSError, AttributeError):
        return _in_python
    hashed.restype = ctypes.c_int32
    hashed.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return lambda key, partitions: hashed(None, key, len(key), partitions, None, None)


partition_of: Final[PartitionOf] = _fastest()
