"""FBCache, the first block cache: DBCache with a front of one block and no back (ParaAttention, diffusers)."""

from accel.cache.plan import CachePlan
from accel.cache.strategies.dbcache import DBCache


def planned(plan: CachePlan, steps: int, depth: int) -> DBCache:
    """As a plan asks."""
    return DBCache(plan.threshold, front=1, keeps=2 if plan.extrapolate else 1)
