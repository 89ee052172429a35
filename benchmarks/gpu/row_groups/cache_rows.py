"""The rows of the GPU benchmark about step caches, at full size and with compiled blocks.

One schedule of reused steps for all, so that seconds do not depend on what random weights decide. Knows no time limit.
"""

import math
import statistics
from collections.abc import Callable
from functools import partial

from accel.block_runner import RESIDENT, WeightAccess
from accel.cache.strategies.dbcache import DBCache
from accel.kernels.compiled_block import SEPARATE
from benchmarks.cache_harness import SCHEDULE, STEPS, Harness, scheduled_session
from benchmarks.caches import eager_strategy, run_cache_dit, run_diffusers, run_ours
from benchmarks.gpu.bench import Bench
from benchmarks.runs.budget import Figures, Row
from benchmarks.runs.records import installed_version

NAME = "step cache: "
COMPILED = ", compiled"
DECISION = f"{NAME}the cost of a decision{COMPILED}"
_SECONDS = 12  # two loops
Loop = Callable[[Harness, WeightAccess], list[float]]  # seconds of each step


OURS: dict[str, Loop] = {
    "uncached": lambda harness, weights: harness.time_loop(harness.block_velocity(weights)),
    "ours, first block cache": lambda harness, weights: run_ours(
        harness, "fbcache", DBCache(math.inf, front=1), weights
    ),
    "ours, DBCache": lambda harness, weights: run_ours(
        harness, "dbcache", DBCache(math.inf, front=harness.front), weights
    ),
    "ours, TeaCache": lambda harness, weights: run_ours(
        harness, "teacache", eager_strategy("teacache", harness.depth), weights
    ),
}


def compiled_cache_rows(bench: Bench) -> list[Row]:
    """Our caches with compiled blocks, and the cost of a decision."""
    rows = [
        Row(f"{NAME}{name}{COMPILED}", partial(_measure, bench, loop, compiled=True), _SECONDS)
        for name, loop in OURS.items()
    ]
    return [*rows, Row(DECISION, partial(_decision, bench), _SECONDS)]


def plain_cache_rows(bench: Bench) -> list[Row]:
    """Our caches and those of the libraries, without compilation."""
    others: dict[str, Loop] = {"diffusers, first block cache": lambda harness, _: run_diffusers(harness)}
    if installed_version("cache-dit"):
        others["cache-dit, DBCache"] = lambda harness, _: run_cache_dit(harness, harness.front)
    return [
        Row(f"{NAME}{name}", partial(_measure, bench, loop, compiled=False), _SECONDS)
        for name, loop in (OURS | others).items()
    ]


def _measure(bench: Bench, loop: Loop, *, compiled: bool) -> Figures:
    """Seconds of the schedule, of its computed steps and of its reused ones."""
    harness = Harness(bench.models())
    weights = WeightAccess(run=bench.blocks(SEPARATE)) if compiled else RESIDENT
    with bench.kernels():
        loop(harness, weights)  # warms up
        bench.reset_peak()
        taken = loop(harness, weights)
    by_letter = {letter: [taken[step] for step in range(STEPS) if SCHEDULE[step] == letter] for letter in "CR"}
    return {
        "seconds": round(sum(taken), 4),
        "steps": STEPS,
        "schedule": SCHEDULE,
        "computed_step": round(statistics.median(by_letter["C"]), 5),
        "reused_step": round(statistics.median(by_letter["R"]), 5),
        "peak_gib": bench.peak_gib(),
    }


def _decision(bench: Bench) -> Figures:
    """What a session adds to a step that it computes: its signal, the distance, the wait for it, and what it keeps."""
    harness, weights = Harness(bench.models()), WeightAccess(run=bench.blocks(SEPARATE))
    session = scheduled_session("fbcache", DBCache(0.0, front=1), reuse=False)
    sides = harness.block_velocity(weights), harness.cached_velocity(session, weights)
    with bench.kernels():
        pairs = harness.time_pairs(sides)[0][1:]  # the first step warms up
    return {
        "steps": len(pairs),
        "computed_step": round(statistics.median(plain for plain, _ in pairs), 5),
        "decision": round(statistics.median(cached - plain for plain, cached in pairs), 6),
    }
