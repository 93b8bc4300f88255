"""The table `order_state`, which contains the state of each order, keyed by order id.

Changelog topic: `{app id}-order_state-changelog`, compacted; its values are `OrderState` in MessagePack.
"""

from __future__ import annotations

from typing import Final

from streams.model.order import OrderState
from streams.model.order_life import INCOMPLETE_KINDS, timer_of, unfinished_timer_of
from streams.runtime.state.codec import StateCodec

NAME: Final = "order_state"
HELP: Final = "State of each order: its row, its product lines, and whether it was emitted."
CODEC: Final = StateCodec(
    OrderState, timer_of=unfinished_timer_of, timers_version=b"unfinished 1", counted_kinds=INCOMPLETE_KINDS
)
FORGETTING_CODEC: Final = StateCodec(
    OrderState, timer_of=timer_of, timers_version=b"all 2", counted_kinds=INCOMPLETE_KINDS
)
"""Codec for deployments that delete finished orders after a retention time; finished orders then need timers, too."""
