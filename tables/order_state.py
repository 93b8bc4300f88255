"""The table `order_state`: what is remembered of each order, by order id.

Changelog: `{app id}-order_state-changelog`, compacted; value: `OrderState` in MessagePack.
"""

from __future__ import annotations

from typing import Final

from streams.model.order import OrderState
from streams.runtime.codec import StateCodec

NAME: Final = "order_state"
HELP: Final = "What is remembered of each order: its row, its product lines, whether it was emitted."
CODEC: Final = StateCodec(OrderState)
