"""Every side of the comparison does what the schedule says, and leaves the model as it was."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from accel.cache.plan import CacheName
from accel.cache.strategies.dbcache import DBCache
from accel.cache.strategies.table import STRATEGIES
from benchmarks.caches import (
    SCHEDULE,
    STEPS,
    Lab,
    agree,
    compare,
    overhead,
    strategy_of,
    with_cache_dit,
    with_diffusers,
    with_ours,
)
from benchmarks.pipeline import SMALL, Case


@pytest.fixture(scope="module")
def lab() -> Lab:
    size = replace(SMALL, transformer=SMALL.transformer | {"num_layers": 4}, cases=(Case("", "text_to_image", 64, 2),))
    return Lab.build(size, torch.device("cpu"))


SIDES: dict[str, Callable[[Lab], list[float]]] = {
    "ours": lambda lab: with_ours(lab, "fbcache", DBCache(float("inf"), front=1)),
    "diffusers": with_diffusers,
    "cache-dit": lambda lab: with_cache_dit(lab, 2),
}


@pytest.mark.parametrize("side", SIDES)
def test_a_side_keeps_to_the_schedule_and_cleans_up(lab: Lab, side: str) -> None:
    with torch.inference_mode():
        before = lab.plain(lab.noise(), 0.5, 0)
        assert len(SIDES[side](lab)) == STEPS
        assert torch.equal(lab.plain(lab.noise(), 0.5, 0), before)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("fbcache", "dbcache")])
def test_each_other_strategy_keeps_to_the_schedule(lab: Lab, name: CacheName) -> None:
    assert len(with_ours(lab, name, strategy_of(name, lab))) == STEPS


def test_other_decisions_end_the_comparison() -> None:
    agree({"cond": SCHEDULE, "uncond": SCHEDULE})
    with pytest.raises(SystemExit, match="instead of"):
        agree({"cond": SCHEDULE, "uncond": "C" * STEPS})


def test_a_session_that_reuses_nothing_changes_nothing(lab: Lab) -> None:
    figures = overhead(lab, repeats=2)
    assert 0 < figures["lower quartile"] <= figures["median"] <= figures["upper quartile"]


def test_each_side_is_compared_with_its_neighbours(lab: Lab) -> None:
    sides = {"uncached": lambda: [2.0] * STEPS, "ours": lambda: [1.0] * STEPS}
    figures = compare(lab, sides, repeats=2)
    assert figures["ours"]["loop over uncached"] == figures["ours"]["reused over uncached"] == 0.5
    assert figures["uncached"]["ours over it"] == 0.5
