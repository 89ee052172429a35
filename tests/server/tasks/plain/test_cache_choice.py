import pytest

from accel.cache.plan import CachePlan
from server.tasks.plain.cache_choice import LEAST_STEPS, CacheChoice, default_window


@pytest.mark.parametrize(("steps", "window"), [(20, (3, 18)), (27, (3, 25)), (28, (4, 26)), (50, (4, 49))])
def test_the_ends_of_a_schedule_are_computed(steps: int, window: tuple[int, int]) -> None:
    assert default_window(steps) == window
    plan = CachePlan("fbcache", 0.1, *window, 3)
    assert CacheChoice("fbcache", 0.1, 3).plan(steps, "cache", "cache.start_step") == (plan, ())


def test_a_short_schedule_needs_a_window() -> None:
    steps = LEAST_STEPS - 1
    plan, (warning,) = CacheChoice("fbcache", 0.1, 3).plan(steps, "cache", "cache.start_step")
    assert plan is None
    assert warning == (
        "cache is ignored: 9 steps are run, and below 10 they are too far apart for reuse. "
        "A window, such as cache.start_step, switches it on."
    )
    assert CacheChoice("fbcache", 0.1, 3, (2, 8)).plan(steps, "cache", "")[0] == CachePlan("fbcache", 0.1, 2, 8, 3)


def test_a_window_of_the_first_and_the_last_step_alone_reuses_nothing() -> None:
    plan, (warning,) = CacheChoice("fbcache", 0.1, 3, (0, 1)).plan(20, "cache", "")
    assert plan is None
    assert "no step from 0 up to 1 of the 20 that are run can be reused" in warning
