"""The rows of a demo's dataset: loaded before its capture, and changed while it is captured."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from config.definition import Definition, Generator
from config.engines.base import SourceSettings
from ops.database import connected
from ops.dataset.bulk import OnDuplicate
from ops.dataset.generator.kinds import write_generated
from ops.dataset.generator.load import load_files
from ops.dataset.generator.plan import Plan
from ops.dataset.load import load_file
from ops.dataset.shipped import shipped_files
from ops.dataset.simulate import simulate
from ops.dataset.simulation import Simulation

LIFE_S: Final = 60.0
LIFE_RATE_PER_S: Final = 50.0
RELOAD_S: Final = 5.0


class DemoRows(Protocol):
    """The rows of a dataset."""

    @property
    def life_text(self) -> str:
        """What happens while the changes are captured."""

    @property
    def loaded_text(self) -> str:
        """What is loaded before."""

    @property
    def command(self) -> str:
        """The command that changes rows as the demo does."""

    def load(self, database: SourceSettings, tick: Callable[[], None]) -> None:
        """Fill the empty tables."""

    def live(self, database: SourceSettings, stop: threading.Event) -> str:
        """Change rows for `LIFE_S` seconds; return what was done."""


class GeneratedRows:
    """Rows of the dataset's generator, and a simulated life."""

    command = "millrace dataset simulate --rate 50"
    life_text = f"{LIFE_RATE_PER_S:.0f} inserts, changes and deletions per second"

    def __init__(self, definition: Definition, generator: Generator, plan: Plan) -> None:
        self._definition = definition
        self._generator = generator
        self._plan = plan

    @property
    def loaded_text(self) -> str:
        """Return the numbers of rows."""
        plan = self._plan
        return (
            f"{plan.customers:,} customers, {self._generator.products:,} products, and {plan.orders:,} orders with"
            f" {plan.order_details:,} items"
        )

    def load(self, database: SourceSettings, tick: Callable[[], None]) -> None:
        """Generate the rows and load them."""
        with tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder:
            paths = write_generated(self._generator, self._plan, Path(folder))
            load_files(database, self._definition, paths, OnDuplicate.FAIL, lambda line: tick())

    def live(self, database: SourceSettings, stop: threading.Event) -> str:
        """Simulate."""
        pace = Simulation(rate_per_s=LIFE_RATE_PER_S, seconds=LIFE_S, seed=self._plan.seed)
        with connected(database, self._definition.database, self._definition.schema) as connection:
            return str(simulate(connection, self._generator, pace, stop=stop))


class ShippedRows:
    """Rows of the files that the dataset comes with, which are loaded again and again."""

    command = "millrace dataset load --all --on-duplicate replace"
    life_text = f"every {RELOAD_S:.0f} s, delete a row of each table and load the files again, which replaces all rows"
    loaded_text = "the files that it comes with, each with a bad row, which is reported by its line"

    def __init__(self, definition: Definition) -> None:
        self._definition = definition

    def load(self, database: SourceSettings, tick: Callable[[], None]) -> None:
        """Load the files."""
        self._loaded(database)
        tick()

    def live(self, database: SourceSettings, stop: threading.Event) -> str:
        """Delete rows, and load the files again, which replaces rows that exist."""
        rows = rejected = times = 0
        for _ in range(round(LIFE_S / RELOAD_S)):
            if stop.wait(RELOAD_S):
                break
            self._delete_first(database)
            loaded, bad = self._loaded(database)
            rows, rejected, times = rows + loaded, rejected + bad, times + 1
        return f"loaded the files {times} times: {rows:,} rows, {rejected:,} bad ones rejected"

    def _delete_first(self, database: SourceSettings) -> None:
        with connected(database, self._definition.database, self._definition.schema) as connection:
            for table in self._definition.tables:
                name, key = connection.quoted(table.name), connection.quoted(table.key[0])
                with connection.cursor() as cursor:
                    cursor.execute(f"DELETE FROM {name} WHERE {key} = (SELECT MIN({key}) FROM {name})")  # noqa: S608
            connection.commit()

    def _loaded(self, database: SourceSettings) -> tuple[int, int]:
        """Load all files; return the numbers of loaded and of rejected rows."""
        loaded = rejected = 0
        definition = self._definition
        with (
            tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder,
            connected(database, definition.database, definition.schema) as connection,
        ):
            for name, path in shipped_files(definition).items():
                outcome = load_file(
                    connection,
                    definition.table(name),
                    path,
                    on_duplicate=OnDuplicate.REPLACE,
                    rejected_to=Path(folder),
                )
                loaded, rejected = loaded + outcome.loaded, rejected + outcome.rejected
        return loaded, rejected
