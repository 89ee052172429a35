"""The strategies by name. A new one is a module beside this one, a name in `accel.cache.plan`, and a line here."""

from collections.abc import Callable

from accel.cache.plan import CacheName, CachePlan
from accel.cache.strategies import dbcache, dicache, easycache, fbcache, meancache, teacache
from accel.cache.strategies.base import Strategy

# from a plan, the steps of the whole schedule and the number of blocks
STRATEGIES: dict[CacheName, Callable[[CachePlan, int, int], Strategy]] = {
    "fbcache": fbcache.planned,
    "teacache": teacache.planned,
    "dbcache": dbcache.planned,
    "meancache": meancache.planned,
    "easycache": easycache.planned,
    "dicache": dicache.planned,
}
