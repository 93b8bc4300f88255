"""Goal: rows and offset are stored together, by the partition's owner only, whatever happens to the database.

Method: committers of the application on a real PostgreSQL, without Kafka. Each scenario is a function of the committer,
so that mutants, which lack a step of the protocol, show that the scenario catches them.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli import main
from stack.local import Stack
from stack.servers import postgres
from streams.adapters.postgres import Transaction
from streams.model.errors import SinkAwayError
from streams.runtime.partition.batch import OutputRecord
from tables.warehouse import statements
from tables.warehouse.committer import WarehouseCommitter
from tests.streams.warehouse.warehouse_rows import Warehouse, Writer, customer
from tests.support.builders import created, position, updated
from tests.support.disks import may_mount, small_disk

OLD = created(customer(email="old"), position(1))
NEW = updated(customer(email="old"), customer(email="new"), position(2))


class OffsetInASecondTransaction(WarehouseCommitter):
    """A mutant that commits the rows first, and then the offset."""

    async def _write(self, rows: Any, next_offset: int, dead: Any) -> int:
        async with self._sink.client.transaction() as transaction:
            written = await transaction.run(self._load.statement, self._arrays(rows))
        async with self._sink.client.transaction() as transaction:
            await self._move_offset(transaction, next_offset)
        return written


class NoOwner(WarehouseCommitter):
    """A mutant that moves the offset whoever owns the partition, and whatever the offset is."""

    async def _move_offset(self, transaction: Transaction, next_offset: int) -> None:
        statement = f"UPDATE {self._sink.schema}.stream_offsets SET next = %s"  # noqa: S608
        await transaction.run(statement, (next_offset,))


def unfenced(warehouse: Warehouse) -> str:
    """The statement of a mutant that writes every version over every other."""
    found = statements.upsert(warehouse.name, warehouse.table("dim_customers"))
    return found.replace("excluded.source_position > t.source_position", "true")


async def an_older_version_does_not_win(warehouse: Warehouse, **mutant: Any) -> None:
    """Two versions of a row in the wrong order."""
    writer = Writer(warehouse, **mutant)
    await writer.open()
    await writer.write(NEW)
    await writer.write(OLD)
    await writer.close()
    assert [row[1] for row in warehouse.rows()] == ["new"]


async def a_former_owner_writes_nothing(warehouse: Warehouse, **mutant: Any) -> None:
    """A worker that was suspended goes on after another one took its partition over."""
    zombie, owner = Writer(warehouse, **mutant), Writer(warehouse, **mutant)
    await zombie.open()
    await zombie.write(created(customer(1), position(1)))
    assert await owner.open() == 1
    with contextlib.suppress(SinkAwayError):
        await zombie.write(created(customer(2), position(2)))
    assert [row[0] for row in warehouse.rows()] == [1]
    await owner.write(created(customer(3), position(3)))
    assert warehouse.run("SELECT next FROM stream_offsets") == [(2,)]
    await asyncio.gather(zombie.close(), owner.close())


async def rows_and_offset_are_together(warehouse: Warehouse, **mutant: Any) -> None:
    """The connection is lost as soon as the rows are written."""
    writer = Writer(warehouse, **mutant)
    await writer.open()
    warehouse.run(
        """
        CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
        CREATE TRIGGER end_it BEFORE UPDATE ON stream_offsets FOR EACH ROW
        WHEN (NEW.next IS DISTINCT FROM OLD.next) EXECUTE FUNCTION end_it()
        """
    )
    with pytest.raises(SinkAwayError):
        await writer.write(created(customer(1), position(1)))
    assert (warehouse.rows(), warehouse.run("SELECT next FROM stream_offsets")) == ([], [(None,)])
    await writer.close()


async def test_an_older_version_does_not_win(warehouse: Warehouse) -> None:
    await an_older_version_does_not_win(warehouse)


async def test_a_former_owner_writes_nothing(warehouse: Warehouse) -> None:
    await a_former_owner_writes_nothing(warehouse)


async def test_rows_and_offset_are_stored_together_or_not_at_all(warehouse: Warehouse) -> None:
    await rows_and_offset_are_together(warehouse)


MUTANTS: dict[str, tuple[Callable[..., Any], Callable[[Warehouse], dict[str, Any]]]] = {
    "no fence": (an_older_version_does_not_win, lambda warehouse: {"statement": unfenced(warehouse)}),
    "no owner": (a_former_owner_writes_nothing, lambda _: {"committer": NoOwner}),
    "offset in a second transaction": (
        rows_and_offset_are_together,
        lambda _: {"committer": OffsetInASecondTransaction},
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_committer_without_a_step_of_the_protocol_is_caught(warehouse: Warehouse, name: str) -> None:
    scenario, mutant = MUTANTS[name]
    with pytest.raises(AssertionError):
        await scenario(warehouse, **mutant(warehouse))
    await asyncio.gather(*[writer.close() for writer in warehouse.writers])


async def test_opening_waits_for_a_former_owners_commit_and_begins_after_it(warehouse: Warehouse) -> None:
    zombie, owner = Writer(warehouse), Writer(warehouse)
    await zombie.open()
    async with zombie.client.transaction() as transaction:
        await zombie.committer._move_offset(transaction, 7)
        opening = asyncio.create_task(owner.open())
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while not await asyncio.to_thread(warehouse.run, waiting):  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)
        assert not opening.done()
    assert await opening == 7
    await asyncio.gather(zombie.close(), owner.close())


async def test_a_warehouse_that_lost_its_data_or_was_restored_catches_up_by_itself(warehouse: Warehouse) -> None:
    writer = Writer(warehouse)
    await writer.open()
    await writer.write(OLD)
    await writer.write(NEW)
    await writer.committer.check()
    warehouse.run("UPDATE stream_offsets SET next = 1; UPDATE dim_customers SET email = 'old'")
    with pytest.raises(SinkAwayError):
        await writer.committer.check()
    again = Writer(warehouse)
    assert await again.open() == 1
    warehouse.run("TRUNCATE stream_offsets, dim_customers")
    with pytest.raises(SinkAwayError):
        await again.write(NEW)
    last = Writer(warehouse)
    assert await last.open() is None
    await last.write(OLD, NEW)
    assert [row[1] for row in warehouse.rows()] == ["new"]
    await asyncio.gather(writer.close(), again.close(), last.close())


async def test_a_column_that_was_dropped_under_the_worker_stops_it_until_apply(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Writer(warehouse)
    await writer.open()
    warehouse.run("ALTER TABLE dim_customers DROP COLUMN born")
    with pytest.raises(SinkAwayError, match="millrace warehouse apply"):
        await writer.write(OLD)
    assert main(["warehouse", "status"]) == 1
    assert "has no column born" in capsys.readouterr().out
    assert main(["warehouse", "apply"]) == 0
    await writer.open()
    await writer.write(OLD)
    assert len(warehouse.rows()) == 1
    await writer.close()


def is_away(writer: Writer) -> bool:
    """Whether the sink says that its database is away."""
    return writer.sink.away_since is not None


async def test_a_warehouse_that_is_read_only_is_waited_for(warehouse: Warehouse) -> None:
    warehouse.run(f"ALTER DATABASE {warehouse.name} SET default_transaction_read_only = on")
    writer = Writer(warehouse)
    with pytest.raises(SinkAwayError, match="read-only"):
        await writer.open()
    assert is_away(writer)
    warehouse.run(f"ALTER DATABASE {warehouse.name} RESET ALL")
    assert await writer.open() is None
    assert not is_away(writer)
    await writer.close()


@contextlib.contextmanager
def refused_room(warehouse: Warehouse, _stack: Stack) -> Iterator[Callable[[], object]]:
    """Let the server refuse rows as it does on a full disk; yields what makes room."""
    warehouse.run(
        """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON dim_customers EXECUTE FUNCTION full_disk()
        """
    )
    yield lambda: warehouse.run("DROP TRIGGER full_disk ON dim_customers")


@contextlib.contextmanager
def full_tablespace(warehouse: Warehouse, stack: Stack) -> Iterator[Callable[[], object]]:
    """Have the table on a small disk, and fill that; yields what makes room."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-full-"))  # which the server's own user can reach
    folder.chmod(0o755)
    user = postgres._service_user()
    try:
        with small_disk(folder / "disk") as disk:
            if user is not None:
                shutil.chown(disk.folder, user, user)
            postgres._run_sql(stack.site, f"CREATE TABLESPACE small LOCATION '{disk.folder}'")
            postgres._run_sql(stack.site, "GRANT CREATE ON TABLESPACE small TO PUBLIC")
            warehouse.run("ALTER TABLE dim_customers SET TABLESPACE small")
            disk.fill()
            yield disk.make_room
            warehouse.run("DROP TABLE dim_customers")
            postgres._run_sql(stack.site, "DROP TABLESPACE small")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


FULL = [refused_room, *([pytest.param(full_tablespace, marks=pytest.mark.nightly)] if may_mount() else [])]


@pytest.mark.parametrize("full", FULL)
async def test_a_full_warehouse_is_waited_for_and_nothing_is_dropped(
    warehouse: Warehouse, stack: Stack, full: Any
) -> None:
    writer = Writer(warehouse)
    await writer.open()
    with full(warehouse, stack) as make_room:
        with pytest.raises(SinkAwayError, match="No space left on device"):
            await writer.write(OLD, *[created(customer(number), position(number)) for number in range(2, 2_000)])
        assert is_away(writer)
        assert writer.letters.kept == []
        make_room()
        assert await writer.open() is None
        await writer.write(OLD)
        assert len(warehouse.rows()) == 1
        assert not is_away(writer)
        await writer.close()


async def test_the_topics_id_is_kept_beside_the_offset(warehouse: Warehouse) -> None:
    writer, again = Writer(warehouse), Writer(warehouse)
    await writer.open()
    assert await writer.committer.source_ids() == {}
    await writer.committer.keep_source_ids({"dbserver1.public.customers": "abc"})
    await writer.write(OLD)
    await again.open()
    assert await again.committer.source_ids() == {"dbserver1.public.customers": "abc"}
    await asyncio.gather(writer.close(), again.close())


async def test_dead_letters_of_folds_are_in_kafka_before_the_offset_moves(warehouse: Warehouse) -> None:
    writer = Writer(warehouse)
    await writer.open()
    letter = OutputRecord("dead_letters", b"7", b"{", (("reason", b"no JSON"),))
    await writer.committer.commit([letter], {"dbserver1.public.customers": 3})
    assert writer.letters.kept == [letter]
    assert warehouse.run("SELECT next FROM stream_offsets") == [(3,)]
    await writer.close()
