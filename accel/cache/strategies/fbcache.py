"""FBCache, the first block cache: DBCache with a front of one block and no back (ParaAttention, diffusers)."""

from accel.cache.plan import CachePlan
from accel.cache.strategies.dbcache import DBCache


def from_plan(plan: CachePlan, steps: int, depth: int) -> DBCache:
    """The strategy of a plan."""
    return DBCache(plan.threshold, front=1, history_length=2 if plan.extrapolate else 1)
