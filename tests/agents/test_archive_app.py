"""Goal: the agents of `streams.archive` pass on every record of every change topic as it came.

Method: `agent.test_context()` with a stand-in partition for each pipeline; no server.
"""

from __future__ import annotations

import pytest

from streams import archive as application
from streams.runtime.testing import StandIn
from streams.topics import Direction, catalogue

RECORDS = [(b"7", b"{"), (b"7", None), (None, b""), (b"\xff", b'{"op":"t"}')]
TOPICS = [
    spec.name
    for spec in catalogue(dataset="project_db", app_id="any", order_partitions=1)
    if spec.direction is Direction.IN
]


def test_every_change_topic_has_a_pipeline_without_a_state() -> None:
    assert [(p.sources, p.table) for p in application.app.pipelines] == [((topic,), None) for topic in TOPICS]
    assert len({pipeline.name for pipeline in application.app.pipelines}) == len(TOPICS) == 4
    assert application.app.conf.id == "millrace-archive"


@pytest.mark.parametrize("number", range(4))
async def test_whatever_a_record_says_it_is_passed_on_as_it_came(number: int) -> None:
    topic = TOPICS[number]
    stand_in = StandIn(application.app, pipeline=application.app.pipelines[number].name)
    async with application.archivers[number].test_context() as agent:
        await agent.put(stand_in.batch(topic, RECORDS))
        await agent.put(stand_in.batch(topic, RECORDS))
    assert [(r.topic, r.key, r.value) for r in stand_in.records] == [(topic, *record) for record in RECORDS * 2]
    places = [(r.source.topic, r.source.offset) for r in stand_in.records if r.source is not None]
    assert places == [(topic, offset) for offset in range(8)]
    assert stand_in.counts["folded"] == 8
