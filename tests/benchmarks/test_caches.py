from dataclasses import replace

import pytest
import torch

from accel.cache.plan import CacheName
from accel.cache.strategies.dbcache import DBCache
from accel.cache.strategies.table import STRATEGIES
from benchmarks.cache_harness import SCHEDULE, STEPS, Harness
from benchmarks.caches import (
    compare,
    comparisons,
    eager_strategy,
    run_cache_dit,
    run_diffusers,
    run_ours,
    session_overhead,
)
from benchmarks.random_models import ModelSize, RandomModels
from benchmarks.runs.records import installed_version


@pytest.fixture(scope="module")
def harness() -> Harness:
    size = ModelSize.load("small")
    size = replace(size, side=64, transformer=size.transformer | {"num_layers": 4})
    return Harness(RandomModels.build(size, torch.device("cpu")))


def test_every_library_follows_the_schedule(harness: Harness) -> None:
    runs = [run_ours(harness, "fbcache", DBCache(float("inf"), front=1)), run_diffusers(harness)]
    if installed_version("cache-dit"):
        runs.append(run_cache_dit(harness, 1))
    assert all(len(seconds) == STEPS for seconds in runs)


def test_no_library_leaves_anything_on_the_shared_transformer(harness: Harness) -> None:
    before = harness.velocity(harness.noise(), 0.5, 0)
    run_diffusers(harness)
    assert torch.equal(harness.velocity(harness.noise(), 0.5, 0), before)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("fbcache", "dbcache")])
def test_each_other_strategy_of_ours_follows_the_schedule(harness: Harness, name: CacheName) -> None:
    assert len(run_ours(harness, name, eager_strategy(name, harness.depth))) == STEPS


@pytest.mark.slow
def test_the_overhead_of_a_session_is_a_ratio_of_steps(harness: Harness) -> None:
    figures = session_overhead(harness, 2)
    assert 0 < figures["lower quartile"] <= figures["median"] <= figures["upper quartile"]


def test_our_other_strategies_are_compared_with_no_cache_only(harness: Harness) -> None:
    first, several, others = comparisons(harness).values()
    assert set(first) >= {"uncached", "ours, first block", "diffusers, first block"}
    assert set(several) >= {"uncached", "ours, 2 blocks"}
    sides = {name: lambda: [1.0] * STEPS for name in others}
    assert all("ours over it" not in figures for figures in compare(sides, 1).values())


def test_figures_are_medians_over_the_steps_of_a_kind() -> None:
    cached = [1.0 if letter == "C" else 0.25 for letter in SCHEDULE]
    sides = {"uncached": lambda: [2.0] * STEPS, "ours": lambda: cached, "other": lambda: [1.0] * STEPS}
    figures = compare(sides, 2)
    assert figures["ours"]["computed step"] == 1.0
    assert figures["ours"]["reused over uncached"] == 0.125
    assert figures["other"]["ours over it"] == pytest.approx(sum(cached) / STEPS)
