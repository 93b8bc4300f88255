"""Gold: dimension and fact tables, each defined by a SQL file of the dataset and updated from the changes in Silver."""

from batch.gold.catalogue import plans
from batch.gold.plan import GoldPlan
from batch.gold.refresh import build

__all__ = ["GoldPlan", "build", "plans"]
