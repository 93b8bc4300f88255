"""The demo shows the stream's proof before it needs anything of the lake, and no failure of the lake hides it.

The parts are fakes that write down what was asked of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from demo.changes_demo import KEPT as CHANGES_KEPT
from demo.lake import published_rows
from demo.orders_demo import KEPT
from demo.progress import CHANGES_MEASURED_S, Progress
from demo.proof import ChangesProof, LakeProof, Proof
from demo.run import run_changes, run_demo
from demo.sinks_proof import FiguresProof, WarehouseProof
from stack.errors import StackError


def warehouse_proof(found: str = "5acbf0d9") -> WarehouseProof:
    """A warehouse with the four tables of the dataset `shop`; the checksum of one is `found`."""
    proof = WarehouseProof(kills=2)
    for table in ("dim_customers", "dim_products", "fact_orders", "fact_order_items"):
        checksum = found if table == "fact_orders" else "5acbf0d9"
        proof.rows[table], proof.checksums[table] = (124_000, 124_000), ("5acbf0d9", checksum)
        proof.equal[table] = checksum == "5acbf0d9"
    return proof


def figures_proof(**different: int) -> FiguresProof:
    """Figures of a minute; some that Redis has are different."""
    expected = {"orders created": 20, "orders of 202601020304": 20, "cents of 202601020304": 5_000}
    return FiguresProof(kills=2, expected=expected, found=expected | different)


STREAM_PHASES = ["start_stream", "stream", "save"]
LAKE_PHASES = ["check_lake", "load_customers", "start_lake", "archive_changes", "fill", "compare", "save"]


@dataclass
class FakeDemo:
    """Servers and both parts of a demo; the step named `failing` raises an error."""

    failing: str = ""
    error: BaseException = field(default_factory=lambda: StackError("the reason"))
    missing: int = 0
    steps: list[str] = field(default_factory=list)
    screen: list[str] = field(default_factory=list)
    saved: list[bool] = field(default_factory=list)

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.failing:
            raise self.error

    def start_stream(self) -> None:
        self._step("start_stream")

    def check_lake(self) -> None:
        self._step("check_lake")

    def start_lake(self) -> None:
        self._step("start_lake")

    def run(self, proof: Proof) -> None:
        self._step("stream")
        proof.complete_orders, proof.missing = 2_800, self.missing

    def load_customers(self) -> None:
        self._step("load_customers")

    def archive_changes(self) -> None:
        self._step("archive_changes")

    def capture(self, proof: ChangesProof) -> None:
        self._step("capture")
        proof.rows = 192_000

    def live(self, proof: ChangesProof) -> None:
        self._step("live")
        proof.captured, proof.archived = 195_000, 195_000 - self.missing
        proof.warehouse, proof.figures = warehouse_proof(), figures_proof()

    def fill(self, proof: LakeProof) -> None:
        self._step("fill")
        proof.lake_rows = {"gold/fact_orders": 2_800}

    def compare(self, proof: LakeProof) -> None:
        proof.lake_verdict = "equal"
        self._step("compare")

    def save(self, proof: LakeProof) -> None:
        self.steps.append("save")
        self.saved.append(proof.stream_passed)

    def demo(self) -> Proof:
        progress = Progress(self.screen.append, {})
        return run_demo(servers=self, stream=self, lake=self, progress=progress, save=self.save)

    def changes_demo(self) -> ChangesProof:
        progress = Progress(self.screen.append, {})
        return run_changes(servers=self, changes=self, lake=self, progress=progress, save=self.save)


def test_the_stream_is_proven_before_anything_of_the_lake_is_needed() -> None:
    fake = FakeDemo()
    proof = fake.demo()
    assert fake.steps == STREAM_PHASES + LAKE_PHASES
    assert proof.passed
    assert fake.saved == [True, True]


@pytest.mark.parametrize("failing", LAKE_PHASES[:-1])
def test_a_failure_of_the_lake_leaves_the_proof_of_the_stream(failing: str) -> None:
    fake = FakeDemo(failing=failing)
    proof = fake.demo()
    assert fake.steps == [*STREAM_PHASES, *LAKE_PHASES[: LAKE_PHASES.index(failing) + 1], "save"]
    assert proof.stream_passed
    assert not proof.passed
    assert "the reason" in proof.lines()
    assert any(line.startswith("complete orders") and line.endswith("2,800\n") for line in fake.screen)


@pytest.mark.parametrize("failing", ["start_stream", "stream"])
def test_without_the_stream_there_is_no_lake(failing: str) -> None:
    fake = FakeDemo(failing=failing)
    with pytest.raises(StackError):
        fake.demo()
    assert fake.steps == STREAM_PHASES[: STREAM_PHASES.index(failing) + 1]


def test_an_order_missing_in_the_stream_fails_the_demo_even_if_the_lake_is_equal() -> None:
    fake = FakeDemo(missing=1)
    assert not fake.demo().passed
    assert fake.steps == STREAM_PHASES + LAKE_PHASES


def test_an_interrupted_lake_leaves_the_saved_proof_of_the_stream() -> None:
    fake = FakeDemo(failing="fill", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fake.demo()
    assert fake.steps[-2:] == ["fill", "save"]


CHANGES_PHASES = ["start_stream", "capture", "start_lake", "live", "save", "fill", "compare", "save"]


def test_the_demo_of_changes_captures_lives_and_compares() -> None:
    fake = FakeDemo()
    proof = fake.changes_demo()
    assert fake.steps == CHANGES_PHASES
    assert proof.passed
    assert proof.lines()[-1].startswith("PASSED")


def test_a_change_missing_in_the_archive_fails_the_demo_even_if_the_lake_is_equal() -> None:
    proof = FakeDemo(missing=1).changes_demo()
    assert proof.lake_passed
    assert not proof.passed
    assert proof.lines()[-1].startswith("FAILED")


def test_a_row_that_differs_in_the_warehouse_and_a_figure_that_differs_are_shown_and_fail_the_demo() -> None:
    proof = FakeDemo().changes_demo()
    proof.warehouse = warehouse_proof(found="00000000")
    assert any("fact_orders" in line and "≠" in line for line in proof.lines())
    assert proof.lines()[-1] == "FAILED: archive passed, warehouse failed, figures passed, lake passed"
    proof.figures = figures_proof(**{"orders created": 19})
    assert "  orders created: 20 ≠ 19" in proof.lines()
    assert not proof.figures.is_equal


def test_nothing_counted_is_no_proof() -> None:
    assert not WarehouseProof().is_equal
    assert not FiguresProof().is_equal


@pytest.mark.parametrize("failing", ["fill", "compare"])
def test_a_failure_of_the_lake_leaves_the_proof_of_the_changes(failing: str) -> None:
    proof = FakeDemo(failing=failing).changes_demo()
    assert (proof.stream_passed, proof.passed) == (True, False)
    assert "the reason" in proof.lines()


def test_what_a_run_wrote_for_others_is_in_the_proof_and_each_record_has_to_be_there_once() -> None:
    lines = [
        "  gold/klienci_by_country       13 rows written, version 1 (0.8 s)",
        "  s3a://processed-data/klienci-by-country: 13 rows",
        "  analytics:segment_totals in Redis: 3 rows",
        "  s3a://processed-data/raw-kafka-data: 1,195 records in 9 new files",
    ]
    proof = ChangesProof(rows=1_000, captured=1_195, archived=1_195, lake_verdict="equal", warehouse=None, figures=None)
    proof.raw, proof.published = "processed-data/raw-kafka-data", published_rows(lines)
    assert proof.passed
    assert "rows for others: processed-data/klienci-by-country 13, analytics:segment_totals 3," in proof.lines()[6]
    proof.published["processed-data/raw-kafka-data"] = 1_194
    assert proof.conclusion() == "FAILED: archive passed, lake failed"


def full_changes_proof() -> ChangesProof:
    """A proof with as much in it as a run with the dataset `shop`."""
    tables = [f"{layer}/{name}" for layer in ("bronze", "silver") for name in ("customers", "products", "orders")]
    operations = "inserted 2,100, updated 600, deleted 300; 3,000 transactions in 60.0 s, 50.0 operations/s"
    proof = ChangesProof(rows=192_000, captured=200_000, archived=200_000, operations=operations)
    proof.lake_rows, proof.lake_verdict = dict.fromkeys(tables, 1_000_000), "equal"
    proof.warehouse = warehouse_proof("00000000")
    proof.figures = figures_proof(**{f"cents of {minute}": 7 for minute in range(20)})
    proof.seconds_per_phase = dict.fromkeys(CHANGES_MEASURED_S, 123.45)
    return proof


def full_proof() -> Proof:
    """A proof with as much in it as a run at size 1 with the default dataset."""
    bronze = ("payment_method", "orders", "order_details", "customers")
    gold = (
        "dim_customer", "dim_payment_method", "dim_product", "dim_date", "fact_orders", "fact_order_products",
    )  # fmt: skip
    tables = [f"{layer}/{name}" for layer in ("bronze", "silver") for name in bronze] + [
        f"gold/{name}" for name in gold
    ]
    phases = (
        "servers", "load", "capture", "orders", "live", "verify", "customers", "storage", "archive", "lake", "compare",
    )  # fmt: skip
    return Proof(
        complete_orders=25_300,
        lake_rows=dict.fromkeys(tables, 1_000_000),
        lake_verdict="equal",
        seconds_per_phase=dict.fromkeys(phases, 123.45),
    )


def failed_proof() -> Proof:
    proof = full_proof()
    proof.lake_error = "\n".join(f"line {number} of a tool's output" for number in range(60))
    return proof


def different_proof() -> Proof:
    proof = full_proof()
    proof.lake_verdict, proof.comparison = "different", [f"line {number}" for number in range(60)]
    return proof


@pytest.mark.parametrize(
    ("proof", "kept"),
    [
        (full_proof(), KEPT),
        (failed_proof(), KEPT),
        (different_proof(), KEPT),
        (full_changes_proof(), CHANGES_KEPT),
    ],
)
def test_the_closing_screen_fits_forty_lines_of_120_characters(proof: LakeProof, kept: str) -> None:
    screen = ["", *proof.lines(), "details and logs", *kept.splitlines()]
    assert len(screen) <= 40
    assert max(len(line) for line in screen) <= 120


def test_a_comparison_that_found_a_difference_is_shown() -> None:
    lines = different_proof().lines()
    assert lines[-1].startswith("FAILED")
    assert "line 59" in lines


def test_the_file_keeps_every_detail(tmp_path: Path) -> None:
    different_proof().write(tmp_path / "folder" / "proof.json")
    found = json.loads((tmp_path / "folder" / "proof.json").read_text())
    assert found["passed"] is False
    assert found["stream_passed"] is True
    assert len(found["comparison"]) == 60
    assert len(found["lake_rows"]) == 14
    assert found["seconds"] == round(11 * 123.45, 1)
