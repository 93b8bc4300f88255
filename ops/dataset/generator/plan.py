"""Compute how many rows to generate, from the dataset's counts and the requested size."""

from __future__ import annotations

from dataclasses import dataclass

from config.definition import Generator
from stack.errors import StackError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Seed and row counts of the data to generate; `incomplete_orders` of the `orders` lack product lines."""

    seed: int
    orders: int
    order_details: int
    customers: int
    incomplete_orders: int = 0


def make_plan(
    parameters: Generator,
    *,
    size: float = 1.0,
    orders: int | None = None,
    customers: int | None = None,
    seed: int | None = None,
    incomplete_share: float = 0.0,
) -> Plan:
    """Compute the row counts for `size`, or for the number `orders`; `customers` sets the number of customers.

    Raises:
        StackError: an option is out of range; the message names it.
    """
    if not 0 < size <= 10_000:
        raise StackError(f"--size must be above 0 and at most 10000, not {size:g}")
    if not 0 <= incomplete_share <= 1:
        raise StackError(f"--incomplete-share must be from 0 to 1, not {incomplete_share:g}")
    for option, count in (("--orders", orders), ("--customers", customers)):
        if count is not None and not 1 <= count <= 2_000_000_000:
            raise StackError(f"{option} must be from 1 to 2000000000, not {count}")
    wanted = max(1, round(parameters.orders * size)) if orders is None else orders
    lines = round(wanted * parameters.order_details / parameters.orders)
    return Plan(
        seed=parameters.seed if seed is None else seed,
        orders=wanted,
        order_details=min(max(lines, wanted), wanted * len(parameters.line_weights)),
        customers=parameters.customers if customers is None else customers,
        incomplete_orders=round(wanted * incomplete_share),
    )
