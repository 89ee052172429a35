import pytest

from accel.cache.plan import CachePlan
from accel.cache.strategies.dbcache import DBCache
from accel.cache.strategies.fbcache import from_plan


@pytest.mark.parametrize("depth", [1, 60])
@pytest.mark.parametrize(("extrapolate", "history_length"), [(False, 1), (True, 2)])
def test_it_is_dbcache_with_a_front_of_one_block(depth: int, extrapolate: bool, history_length: int) -> None:
    plan = CachePlan("fbcache", 0.25, 3, 18, 3, extrapolate=extrapolate)
    assert from_plan(plan, 20, depth) == DBCache(0.25, front=1, history_length=history_length)
