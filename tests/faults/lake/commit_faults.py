"""Faults of commits: many writers of one table, and lost answers of the object storage."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import Final

from tests.faults.lake.process import BatchProcess
from tests.faults.lake.scenario import LakeScenario
from tests.faults.proxy import LOG_PUT, Proxy

WRITERS: Final = 3
COMMITS: Final = 40
SMALL: Final = {"SPARK_MASTER": "local[1]", "SPARK_DRIVER_MEMORY": "512m"}
HELD_UP_S: Final = 0.1
"""How long each commit waits at the proxy: between the look of a writer and its write there is room for the others."""


def write_together(scenario: LakeScenario) -> None:
    """Three processes append to one table, 40 commits each, all through a proxy that holds every commit up."""
    path = f"s3a://bronze/faults/{uuid.uuid4().hex}"
    with Proxy(scenario.testbed.base.stack.site.ports["minio"]) as proxy:
        proxy.hold_up(LOG_PUT, HELD_UP_S)
        module = ("tests.faults.lake.writer", scenario.mutant, path)
        names = [f"writer-{number}" for number in range(WRITERS)]
        writers = [scenario.testbed.start(*module, name, MINIO_ENDPOINT=proxy.url, **SMALL) for name in names]
        for writer in writers:
            writer.wait_said("ready")
        for writer, commits in ((writers[0], 1), *zip(writers, (COMMITS - 1, COMMITS, COMMITS), strict=True)):
            writer.tell(str(commits))
            if commits == 1:
                writer.wait_said("done")  # the table is there
        for number, writer in enumerate(writers):
            writer.wait_said("done", count=1 + (number == 0))
    expected = [(name, number) for name in names for number in range(COMMITS)]
    kept = {(name, number) for name, writer in zip(names, writers, strict=True) for number in _numbers(writer, "kept")}
    found = [tuple(row) for row in scenario.testbed.base.asked_of_spark(f"SELECT writer, number FROM delta.`{path}`")]  # noqa: S608
    rejected, unnoticed = len(expected) - len(kept), len(kept.difference(found))
    scenario.struck(f"{WRITERS} writers: {len(found)} of {len(expected)} commits are there, {unnoticed} lost unnoticed")
    scenario.notes |= {"commits": len(expected), "found": len(found), "refused": rejected, "lost_unnoticed": unnoticed}
    scenario.judgement.compare("commits", "commits", "the table", found, expected)
    scenario.expect("commits", not rejected, f"{rejected} commits were rejected, although no two wrote the same rows")


def _numbers(writer: BatchProcess, word: str) -> list[int]:
    return [int(line.split()[1]) for line in writer.lines if line.startswith(f"{word} ")]


def lose_answers(scenario: LakeScenario) -> None:
    """A run each of whose commits is done and not answered the first time; then one whose storage is away from an
    unanswered commit on.
    """
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(scenario.testbed.base.stack.site.ports["minio"]))
        for _ in range(scenario.dose.times):
            scenario.change()
            proxy.lose_answers(LOG_PUT)
            answer = scenario.start_run(MINIO_ENDPOINT=proxy.url).wait()
            scenario.struck(f"{len(proxy.lost)} commits were not answered, exit code {answer.code}")
            scenario.expect("fault", answer.code == 0, f"the run fails: {answer.text[-500:]}")
            scenario.expect("fault", proxy.lost, "no answer was lost")
            scenario.judge()
            proxy.heal()
            _lose_and_go(scenario, proxy)
        scenario.notes["answers_lost"] = len(proxy.lost)


def _lose_and_go(scenario: LakeScenario, proxy: Proxy) -> None:
    scenario.change()
    place = scenario.place(scenario.draw.choice(("bronze", "silver", "gold")))
    layer, _, table = place.partition("/")
    proxy.lose_answers(rf"^PUT /{layer}/\S*{table}/_delta_log/\d{{20}}\.json ", then_away=True)
    before = len(proxy.lost)
    answer = scenario.start_run(MINIO_ENDPOINT=proxy.url).wait()
    scenario.expect("fault", len(proxy.lost) == before + 1, f"{len(proxy.lost) - before} answers were lost, not one")
    scenario.struck(f"the commit of {place} was not answered, then the storage was away; exit code {answer.code}")
    scenario.expect_error(answer, "the object storage does not answer", "cannot reach the object storage")
    proxy.heal()
    scenario.repair()
    scenario.judge()
