"""Hypothesis profiles for row 17, as a pytest plugin: it is loaded before the tests' own conftest chooses one."""

from __future__ import annotations

from hypothesis import settings

from tests.faults.state_machine import EXAMPLES, STEPS

for dose, examples in EXAMPLES.items():
    settings.register_profile(
        f"faults-{dose}", max_examples=examples, stateful_step_count=STEPS, deadline=None, print_blob=True
    )
