"""Measures the cost of step caches: ours, diffusers' FBCache, cache-dit's DBCache and none, in turns on one model.

    python -m benchmarks.caches [--device cuda] [--full-size] [--repeats 7] [--minutes 8] [--only NAME] [--out FILE]

Weights are random, as in `benchmarks.pipeline`. One schedule decides for all which steps are reused, so equal decisions
are compared. Seconds are those of the device; on a CPU they are those of one thread, so that other programs hardly
count. cache-dit is left out when it is not installed. Prints a table and appends one JSON line for each figure.
"""

import math
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig

from accel.block_runner import RESIDENT, WeightAccess
from accel.cache.plan import CacheName, CachePlan
from accel.cache.strategies.base import Strategy
from accel.cache.strategies.dbcache import DBCache
from accel.cache.strategies.table import STRATEGIES
from benchmarks.cache_harness import (
    SCHEDULE,
    STEPS,
    Harness,
    expect_schedule,
    scheduled_session,
)
from benchmarks.random_models import ModelSize, RandomModels
from benchmarks.runs.command import Command
from benchmarks.runs.records import installed_version

Figures = dict[str, Any]
OVERHEAD = "nothing reused, over no session"
Side = Callable[[], list[float]]  # seconds of each step of one run


def run_ours(harness: Harness, name: CacheName, strategy: Strategy, weights: WeightAccess = RESIDENT) -> list[float]:
    """Seconds of each step with a session of ours. `weights` says what runs the blocks."""
    session = scheduled_session(name, strategy)
    seconds = harness.time_loop(harness.cached_velocity(session, weights))
    expect_schedule(session.report().patterns)
    return seconds


def run_diffusers(harness: Harness) -> list[float]:
    """Seconds of each step with diffusers' first block cache."""
    harness.transformer.enable_cache(FirstBlockCacheConfig(threshold=math.inf))
    hook = harness.transformer.transformer_blocks[0]._diffusers_hook.get_hook("fbc_leader_block_hook")
    decide, patterns = hook._should_compute_remaining_blocks, dict[str, str]()

    def scheduled(residual: torch.Tensor) -> bool:
        decide(residual)
        branch = hook.state_manager.context.name
        letter = SCHEDULE[len(patterns.get(branch, ""))]
        patterns[branch] = patterns.get(branch, "") + letter
        return letter == "C"

    hook._should_compute_remaining_blocks = scheduled
    try:
        seconds = harness.time_loop(partial(harness.velocity, named=True))
    finally:
        harness.transformer.disable_cache()
    expect_schedule(patterns)
    return seconds


def run_cache_dit(harness: Harness, front: int) -> list[float]:
    """Seconds of each step with cache-dit's DBCache of `front` first blocks and no last ones."""
    import cache_dit  # pyright: ignore[reportMissingImports]

    cache_dit.enable_cache(
        harness.transformer,
        cache_config=cache_dit.DBCacheConfig(
            Fn_compute_blocks=front,
            Bn_compute_blocks=0,
            # Below 1, where it would no longer measure.
            residual_diff_threshold=1 - 1e-6,
            max_warmup_steps=0,
            enable_separate_cfg=True,
            num_inference_steps=STEPS,
            steps_computation_mask=[int(letter == "C") for letter in SCHEDULE],
            steps_computation_policy="dynamic",
        ),
    )
    try:
        seconds = harness.time_loop(harness.velocity)
        summary = cache_dit.summary(harness.transformer, logging=False)[0]
    finally:
        cache_dit.disable_cache(harness.transformer)
    reused = {"cond": summary.cached_steps, "uncond": summary.cfg_cached_steps}
    expect_schedule(
        {name: "".join("R" if step in steps else "C" for step in range(STEPS)) for name, steps in reused.items()}
    )
    return seconds


def session_overhead(harness: Harness, repeats: int) -> Figures:
    """Steps of a session that reuses nothing relative to steps without one; each pair is timed back to back."""
    ratios = []
    for number in range(repeats):
        session = scheduled_session("fbcache", DBCache(0.0, front=1), reuse=False)
        pairs, samples = harness.time_pairs((harness.velocity, harness.cached_velocity(session)), number)
        if number:  # the first run warms up
            ratios += [cached / plain for plain, cached in pairs]
        if not torch.equal(*samples):
            raise SystemExit("a session that reuses nothing gave another result")
    quartiles = statistics.quantiles(ratios, n=4)
    return {"lower quartile": quartiles[0], "median": quartiles[1], "upper quartile": quartiles[2]}


def compare(sides: Mapping[str, Side], repeats: int) -> dict[str, Figures]:
    """Seconds of the computed and the reused steps of each side, and ratios of loops to the uncached ones beside them.

    Our loop is compared with each side when there is another library among them.
    """
    rounds: list[dict[str, list[float]]] = []
    for number in range(repeats + 1):
        order = list(sides) if number % 2 else list(sides)[::-1]
        rounds.append({name: sides[name]() for name in ("uncached", *order)})
    rounds = rounds[1:]  # the first warms up

    def median_step(name: str, letter: str) -> float:
        return statistics.median(
            seconds[name][step] for seconds in rounds for step in range(STEPS) if SCHEDULE[step] == letter
        )

    def loop_ratio(name: str, other: str) -> float:
        return statistics.median(sum(seconds[name]) / sum(seconds[other]) for seconds in rounds)

    figures = {
        name: {
            "computed step": median_step(name, "C"),
            "reused step": median_step(name, "R"),
            "reused over uncached": median_step(name, "R") / median_step("uncached", "C"),
            "loop over uncached": loop_ratio(name, "uncached"),
        }
        for name in sides
    }
    ours = [name for name in sides if name.startswith("ours")]
    if len(ours) + 1 < len(sides):
        for name in sides:
            figures[name]["ours over it"] = loop_ratio(ours[0], name)
    return figures


def eager_strategy(name: CacheName, depth: int) -> Strategy:
    """A strategy whose threshold nothing reaches, for a transformer of `depth` blocks."""
    plan = CachePlan(name, math.inf, 0, STEPS, STEPS, profile="qwen_image")
    strategy: Any = STRATEGIES[name](plan, STEPS, depth)
    return strategy


def comparisons(harness: Harness) -> dict[str, dict[str, Side]]:
    """The sides that are compared, by group: first block caches, caches of several blocks, our other strategies."""
    front = harness.front
    uncached: dict[str, Side] = {"uncached": lambda: harness.time_loop(harness.velocity)}
    first_block = uncached | {
        "ours, first block": lambda: run_ours(harness, "fbcache", DBCache(math.inf, front=1)),
        "diffusers, first block": lambda: run_diffusers(harness),
    }
    several_blocks = uncached | {
        f"ours, {front} blocks": lambda: run_ours(harness, "dbcache", DBCache(math.inf, front=front))
    }
    if installed_version("cache-dit"):
        first_block["cache-dit, first block"] = lambda: run_cache_dit(harness, 1)
        several_blocks[f"cache-dit, {front} blocks"] = lambda: run_cache_dit(harness, front)
    names: tuple[CacheName, ...] = ("teacache", "meancache", "easycache", "dicache")
    others: dict[str, Side] = {
        f"ours, {name}": partial(run_ours, harness, name, eager_strategy(name, harness.depth)) for name in names
    }
    return {"first block": first_block, "several blocks": several_blocks, "other strategies": uncached | others}


def main() -> None:
    """Run from the command line."""
    command = Command.parse("caches", __doc__)
    torch.set_num_threads(1)
    size = ModelSize.load("full" if command.full_size else "deep")
    harness = Harness(RandomModels.build(size, command.device))
    setup = {"blocks": harness.depth, "side": size.side, "schedule": SCHEDULE}
    print(f"{harness.depth} blocks, {size.side}², steps {SCHEDULE}; seconds")

    def report(name: str, figures: Figures) -> None:
        figures = {key: float(f"{value:.4g}") for key, value in figures.items()}
        print(f"{name:<34}" + "  ".join(f"{key} {value:g}" for key, value in figures.items()), flush=True)
        command.record({"figure": name, **figures, **setup}, ("torch", "diffusers", "cache-dit"))

    groups: dict[str, Callable[[], dict[str, Figures]]] = {
        OVERHEAD: lambda: {OVERHEAD: session_overhead(harness, command.repeats + 1)}
    }
    groups |= {name: partial(compare, sides, command.repeats) for name, sides in comparisons(harness).items()}
    for group in command.select(list(groups)):
        for name, figures in groups[group]().items():
            report(name, figures)


if __name__ == "__main__":
    main()
