"""Run the demo: the stream first, then the lake, whose programs are fetched in the background meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from demo.progress import Progress
from demo.proof import Proof
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
    """The lake's part of the demo, as `demo.lake.LakePart` has it."""

    def load_customers(self) -> None:
        """Load the customers into the database."""

    def archive_changes(self) -> None:
        """Archive every change in object storage."""

    def fill(self, proof: Proof) -> None:
        """Fill Bronze, Silver and Gold, and add their rows to the proof."""

    def compare(self, proof: Proof) -> None:
        """Compare stream and lake with the database, and add the verdict to the proof."""


def run_demo(
    *, servers: Servers, stream: Stream, lake: Lake, progress: Progress, save: Callable[[Proof], None]
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


def _run_lake(servers: Servers, lake: Lake, proof: Proof) -> None:
    servers.check_lake()  # a build that has failed already is reported before the minutes of the next phase
    lake.load_customers()
    servers.start_lake()
    lake.archive_changes()
    lake.fill(proof)
    lake.compare(proof)
