"""Gold: dimensions and facts, each one SQL file of the dataset, kept current by the changes of Silver."""

from batch.gold.catalogue import plans
from batch.gold.plan import GoldPlan
from batch.gold.refresh import build

__all__ = ["GoldPlan", "build", "plans"]
