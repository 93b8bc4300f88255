"""Run the demo: the stream or the changes first, then the lake, whose programs are fetched meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from demo.progress import Progress
from demo.proof import ChangesProof, LakeProof, Proof
from stack.errors import StackError


class Servers(Protocol):
    """The servers of the demo, as `demo.servers.Servers` has them."""

    def start_stream(self) -> None:
        """Start the servers of the stream."""

    def check_lake(self) -> None:
        """Raise `StackError` if a program of the lake could not be fetched."""

    def start_lake(self) -> None:
        """Wait for the programs of the lake, and start MinIO."""


class Stream(Protocol):
    """The stream's part of the demo, as `demo.stream.StreamPart` has it."""

    def run(self, proof: Proof) -> None:
        """Run the phases of the stream, and add their results to the proof."""


class Lake(Protocol):
    """The lake's part of any demo, as `demo.lake.LakePart` has it."""

    def fill(self, proof: LakeProof) -> None:
        """Fill Bronze, Silver and Gold, and add their rows to the proof."""

    def compare(self, proof: LakeProof) -> None:
        """Compare with the database, and add the verdict to the proof."""


class OrdersLake(Lake, Protocol):
    """The lake's part of the demo of complete orders, as `demo.lake.OrdersLake` has it."""

    def load_customers(self) -> None:
        """Load the customers into the database."""

    def archive_changes(self) -> None:
        """Archive every change in object storage."""


class Changes(Protocol):
    """What comes before the lake in the demo of other datasets, as `demo.changes.ChangesPart` has it."""

    def capture(self, proof: ChangesProof) -> None:
        """Load the database, and capture it with a snapshot."""

    def live(self, proof: ChangesProof) -> None:
        """Archive the changes of a simulated life, with faults in it, and add the figures to the proof."""


def run_demo(
    *, servers: Servers, stream: Stream, lake: OrdersLake, progress: Progress, save: Callable[[Proof], None]
) -> Proof:
    """Run both parts and return the proof; a failure of the lake is in the proof and does not hide the stream's result.

    Args:
        save: saves the proof; called after each part.

    Raises:
        StackError: a server could not be started, or the stream's part failed.
    """
    proof = Proof(seconds_per_phase=progress.seconds)
    servers.start_stream()
    stream.run(proof)
    save(proof)
    for line in proof.stream_lines():
        progress.say(line)
    progress.say(f"The stream's proof is complete after {progress.elapsed_s:.0f} s; the lake follows.")
    progress.say()
    try:
        _run_lake(servers, lake, proof)
    except StackError as error:
        proof.lake_error = str(error)
    finally:
        save(proof)
    return proof


def _run_lake(servers: Servers, lake: OrdersLake, proof: Proof) -> None:
    servers.check_lake()  # a build that has failed already is reported before the minutes of the next phase
    lake.load_customers()
    servers.start_lake()
    lake.archive_changes()
    lake.fill(proof)
    lake.compare(proof)


def run_changes(
    *, servers: Servers, changes: Changes, lake: Lake, progress: Progress, save: Callable[[ChangesProof], None]
) -> ChangesProof:
    """Run the demo of a dataset without complete orders, and return the proof.

    Args:
        save: saves the proof; called at the end, and also after a failure.

    Raises:
        StackError: a server could not be started, or the changes were not captured or archived.
    """
    proof = ChangesProof(seconds_per_phase=progress.seconds)
    servers.start_stream()
    changes.capture(proof)
    servers.start_lake()
    changes.live(proof)
    save(proof)
    try:
        lake.fill(proof)
        lake.compare(proof)
    except StackError as error:
        proof.lake_error = str(error)
    finally:
        save(proof)
    return proof
