"""Goal: the bucket of the archive keeps its promise: an object is stored by one of all writers, with its metadata.

Method: `MinioBucket` on a real MinIO, many puts of one name at a time; a bucket that does not exist, a server that is
gone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from config.settings import ObjectStoreSettings
from stack.local import Stack
from streams.adapters.object_store import MinioBucket
from streams.model.errors import SinkAwayError

RIVALS = 8
NAME = "changes/shop.orders/00003/{:020d}.parquet"


def bucket(servers: Stack, name: str = "bronze") -> MinioBucket:
    settings = ObjectStoreSettings.read(servers.environment())
    return MinioBucket(settings.endpoint, name, access_key=settings.access_key, secret_key=settings.secret_key)


def is_away(store: MinioBucket) -> bool:
    return store.away_since is not None


async def test_of_many_puts_of_one_name_exactly_one_is_stored_with_its_own_metadata(servers: Stack) -> None:
    store = bucket(servers)
    for number in range(10):
        name = NAME.format(number)
        assert await store.metadata(name) is None
        puts = [
            store.put_new(name, lambda rival=rival: b"%d" % rival * 100_000, {"last-offset": str(rival)})  # type: ignore[misc]
            for rival in range(RIVALS)
        ]
        sizes = await asyncio.gather(*puts)
        assert sorted(size is None for size in sizes) == [False] + [True] * (RIVALS - 1)
        winner = next(rival for rival, size in enumerate(sizes) if size is not None)
        assert await store.metadata(name) == {"last-offset": str(winner)}
    await store.close()


async def test_names_are_listed_in_their_order_from_a_name_on(servers: Stack) -> None:
    store = bucket(servers)
    names = [f"many/{number:05d}" for number in range(1_200)]
    await asyncio.gather(*[store.put_new(name, bytes, {}) for name in names])
    assert await store.first_names("many/", after="") == names
    assert await store.first_names("many/", after=names[7]) == names[8:]
    assert await store.first_names("none/", after="") == []
    await store.close()


async def test_a_refusal_has_a_name(servers: Stack) -> None:
    store = bucket(servers, "no-such-bucket")
    for call in (store.metadata("x"), store.first_names("x", after=""), store.put_new("x", bytes, {})):
        with pytest.raises(SinkAwayError, match="NoSuchBucket"):
            await call
    assert is_away(store)
    await store.close()


async def test_a_server_that_is_gone_is_noticed_and_its_return_too(servers: Stack, tmp_path: Path) -> None:
    store = bucket(servers)
    assert await store.metadata("x") is None
    servers.kill("minio")
    for call in (store.metadata("x"), store.first_names("x", after=""), store.put_new("x", bytes, {})):
        with pytest.raises(SinkAwayError):
            await call
    assert is_away(store)
    servers.start("minio")
    assert await store.metadata("x") is None
    assert not is_away(store)
    await store.close()
