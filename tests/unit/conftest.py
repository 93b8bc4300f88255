"""Hypothesis for unit tests: quick by default; `HYPOTHESIS_PROFILE=nightly` or `full` tries far more examples.

A failure prints the seed and the blob that reproduce it.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("quick", max_examples=100, stateful_step_count=40, deadline=None, print_blob=True)
settings.register_profile("nightly", settings.get_profile("quick"), max_examples=1_000)
settings.register_profile("full", settings.get_profile("quick"), max_examples=10_000, stateful_step_count=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
