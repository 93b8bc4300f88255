"""Gold: dimensions and facts, each one SQL file of the dataset, kept current by the changes of Silver."""

from batch.gold.build import build
from batch.gold.files import plans
from batch.gold.plan import GoldPlan

__all__ = ["GoldPlan", "build", "plans"]
