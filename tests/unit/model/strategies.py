"""Random histories of a small shop and random deliveries of its topics.

Both are lists of steps, each a method's name and its arguments, so that a failure prints as a script.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hypothesis import strategies as st

from tests.unit.model.delivery import Delivery
from tests.unit.model.dict_shop import TOPICS, Shop

Step = tuple[Any, ...]

order_ids: Final = st.sampled_from(["A", "B"])
products: Final = st.sampled_from([1, 2, 3])
counts: Final = st.integers(1, 3)
customers: Final = st.integers(1, 2)
topics: Final = st.sampled_from(TOPICS)
stretches: Final = st.integers(1, 8)
line_keys: Final = st.tuples(order_ids, products)
quantities: Final = st.dictionaries(products, counts, min_size=1)


def step(method: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    """A call of a method, still to be made."""
    return st.tuples(st.just(method), *arguments)


@st.composite
def scripts(draw: st.DrawFn, kinds: dict[st.SearchStrategy[Step], int], *, longest: int) -> list[Step]:
    """Steps of these kinds by weight, every length as likely as another.

    Plain lists are short, and the alternatives of `one_of` all alike: few orders would ever be complete.
    """
    urn = [kind for kind, weight in kinds.items() for _ in range(weight)]
    return [draw(urn[draw(st.integers(0, len(urn) - 1))]) for _ in range(draw(st.integers(0, longest)))]


put_order: Final = step("put_order", order_ids, counts, customers)
put_lines: Final = step("put_lines", order_ids, quantities)
removals: Final = step("drop_order", order_ids) | step("drop_line", order_ids, products)
moves: Final = step("move_order", order_ids, order_ids) | step("move_line", line_keys, line_keys)
repeats: Final = step("repeat", topics, st.integers(1, 6), st.integers(1, 4))
snapshots_and_rotations: Final = step("snapshot") | step("rotate") | step("fail_over")

read: Final = step("read", topics, stretches)
rewind: Final = step("rewind", topics, st.integers(1, 30))
stops: Final = step("reload") | step("commit") | step("restart")

histories: Final = scripts(
    {put_order: 4, put_lines: 5, removals: 3, moves: 1, repeats: 4, snapshots_and_rotations: 1}, longest=30
)
deliveries: Final = scripts({read: 4, rewind: 1, stops: 1}, longest=20)


@st.composite
def insert_histories(draw: st.DrawFn) -> list[Step]:
    """Inserts of whole orders, each line once, in any order and split into statements at random."""
    inserts: list[Step] = []
    for order_id in ("A", "B", "C"):
        quantities_ = draw(quantities)
        inserts.append(("put_order", order_id, len(quantities_), draw(customers)))
        if draw(st.booleans()):
            inserts.append(("put_lines", order_id, quantities_))
        else:
            inserts += [("put_lines", order_id, {product: quantity}) for product, quantity in quantities_.items()]
    return draw(st.permutations(inserts))


def play(target: object, steps: Iterable[Step]) -> None:
    """Make the calls."""
    for method, *arguments in steps:
        getattr(target, method)(*arguments)


def shop_after(history: Iterable[Step]) -> Shop:
    """The shop with this history."""
    shop = Shop()
    play(shop, history)
    return shop


def delivered(shop: Shop, delivery: Iterable[Step], **options: Any) -> Delivery:
    """The consumer after this delivery and everything that was left."""
    consumer = Delivery(shop, **options)
    play(consumer, delivery)
    consumer.read_all()
    return consumer
