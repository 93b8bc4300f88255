"""Whether what was published agrees with the shop's database: the oracle of the property tests.

Its rule of completeness is written afresh from the tables; it uses no state and no function of the code under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams.model.published import AmendedOrder, CompleteOrder
from tests.support.builders import ORDERED_AT
from tests.unit.model.dict_shop import Shop

Published = CompleteOrder | AmendedOrder


def check(shop: Shop, published: Sequence[Published]) -> None:
    """Assert everything that has to hold once both topics have been read to their end."""
    ids = {output.order_id for output in published} | shop.orders.keys() | {order_id for order_id, _ in shop.details}
    for order_id in sorted(ids):
        check_order(shop, order_id, [output for output in published if output.order_id == order_id])


def check_order(shop: Shop, order_id: str, outputs: Sequence[Published]) -> None:
    """The same for one order, given what was published of it, in order."""
    if not outputs:
        assert expected(shop, order_id)["status"] != "complete", f"{order_id} is complete and was not published"
        return
    check_sequence(order_id, outputs)
    assert said(outputs[-1]) == expected(shop, order_id)
    if shop.inserts_only and len(lines(shop, order_id)) == shop.orders[order_id]["num_products"]:
        assert len(outputs) == 1, f"{order_id} was amended although there were only inserts"


def check_sequence(order_id: str, outputs: Sequence[Published]) -> None:
    """What has to hold of an order's outputs at any time: one complete order, then amendments that tell something."""
    final, *amendments = outputs
    assert isinstance(final, CompleteOrder), f"{order_id} was amended before it was published"
    assert len(final.products) >= final.num_products, f"{order_id} was published incomplete"
    for revision, amendment in enumerate(amendments, start=1):
        assert isinstance(amendment, AmendedOrder), f"{order_id} was published twice"
        assert amendment.revision == revision, f"{order_id}: revision {amendment.revision} where {revision} is due"
    for before, after in zip(outputs, amendments, strict=False):
        assert said(before) != said(after), f"{order_id}: an amendment says nothing new"


def lines(shop: Shop, order_id: str) -> list[tuple[int, int]]:
    """Product and quantity of each line of an order in the database, by product."""
    return sorted((product, row["quantity"]) for (owner, product), row in shop.details.items() if owner == order_id)


def expected(shop: Shop, order_id: str) -> dict[str, Any]:
    """The order as the database has it; of a deleted one only the lines that are left."""
    found = lines(shop, order_id)
    row = shop.orders.get(order_id)
    if row is None:
        return {"status": "deleted", "products": found}
    return {
        "status": "complete" if len(found) >= row["num_products"] else "incomplete",
        "products": found,
        "customer_id": row["customer_id"],
        "store_id": row["store_id"],
        "payment_method_id": row["payment_method_id"],
        "num_products": row["num_products"],
        "ordered_at": ORDERED_AT,
    }


def said(output: Published) -> dict[str, Any]:
    """What a record says of its order, in the form of `expected`."""
    products = [(product.product_id, product.quantity) for product in output.products]
    status = "complete" if isinstance(output, CompleteOrder) else str(output.status)
    if status == "deleted":
        return {"status": status, "products": products}
    assert output.payment_method is not None
    return {
        "status": status,
        "products": products,
        "customer_id": output.customer_id,
        "store_id": output.store_id,
        "payment_method_id": output.payment_method.id,
        "num_products": output.num_products,
        "ordered_at": output.ordered_at,
    }
