"""The strategies by name. A new one is a module beside this one, a name in `accel.cache.plan`, and a line here."""

from collections.abc import Callable

from accel.cache.plan import CacheName, CachePlan
from accel.cache.strategies import dbcache, dicache, easycache, fbcache, meancache, teacache
from accel.cache.strategies.base import Strategy

# Each takes the plan, the number of steps of the whole schedule, and the number of blocks.
STRATEGIES: dict[CacheName, Callable[[CachePlan, int, int], Strategy]] = {
    "fbcache": fbcache.from_plan,
    "teacache": teacache.from_plan,
    "dbcache": dbcache.from_plan,
    "meancache": meancache.from_plan,
    "easycache": easycache.from_plan,
    "dicache": dicache.from_plan,
}
