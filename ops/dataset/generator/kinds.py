"""Write the generated rows of a dataset, whatever kind of generator its definition has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from config.definition import Generator, OrdersGenerator, ShopGenerator, StoreGenerator
from ops.dataset.generator.files import write_files
from ops.dataset.generator.plan import Plan
from ops.dataset.generator.shop_files import write_shop_files
from ops.dataset.generator.store_files import write_store_files


def write_generated(
    parameters: Generator, plan: Plan, folder: Path, report: Callable[[str], None] = lambda line: None
) -> dict[str, Path]:
    """Write the files of `plan` into `folder`; return their paths keyed by table, in loading order."""
    match parameters:
        case OrdersGenerator():
            return write_files(parameters, plan, folder, report)
        case ShopGenerator():
            return write_shop_files(parameters, plan, folder, report)
        case StoreGenerator():
            return write_store_files(parameters, plan, folder, report)
