from dataclasses import replace

import pytest
import torch

from accel.cache.strategies.dbcache import DBCache
from benchmarks.cache_harness import SCHEDULE, STEPS, Harness, expect_schedule, forced_session, scheduled_session
from benchmarks.random_models import ModelSize, RandomModels


@pytest.fixture(scope="module")
def harness() -> Harness:
    return Harness(RandomModels.build(replace(ModelSize.load("small"), side=64), torch.device("cpu")))


@pytest.mark.parametrize(("reuse", "patterns"), [(True, {SCHEDULE}), (False, {"C" * STEPS})])
def test_a_session_follows_the_schedule_or_computes_everything(
    reuse: bool, patterns: set[str], harness: Harness
) -> None:
    session = scheduled_session("fbcache", DBCache(float("inf"), front=1), reuse=reuse)
    seconds = harness.time_loop(harness.cached_velocity(session))
    assert set(session.report().patterns.values()) == patterns
    assert len(seconds) == STEPS
    assert min(seconds) > 0


def test_a_session_that_reuses_nothing_has_the_transformers_own_velocity(harness: Harness) -> None:
    session = scheduled_session("fbcache", DBCache(0.0, front=1), reuse=False)
    _, plain = harness.time_step(harness.velocity, harness.noise(), 0)
    _, cached = harness.time_step(harness.cached_velocity(session), harness.noise(), 0)
    assert torch.equal(plain, cached)


def test_a_whole_render_reuses_three_steps_of_four(harness: Harness) -> None:
    session = forced_session([0.9 - 0.01 * step for step in range(13)])
    harness.time_loop(harness.cached_velocity(session))
    assert set(session.report().patterns.values()) == {"CCCRRRCRRRCC"}


def test_another_pattern_ends_the_program() -> None:
    expect_schedule({"cond": SCHEDULE, "uncond": SCHEDULE})
    with pytest.raises(SystemExit, match="instead of"):
        expect_schedule({"cond": SCHEDULE, "uncond": "C" * STEPS})
