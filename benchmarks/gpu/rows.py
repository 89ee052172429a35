"""The rows of the GPU benchmark, the most valuable first.

Knows what is compared; knows no time limit and no file.
"""

from dataclasses import asdict, replace
from functools import partial

from accel.cache.strategies.dbcache import DBCache
from accel.kernels.attention import TORCH, choose_attention
from accel.kernels.compiled_block import SEPARATE, Kernels
from accel.weights.placement import HostShare
from benchmarks.cache_harness import SCHEDULE, STEPS, Harness
from benchmarks.caches import run_cache_dit, run_diffusers, run_ours
from benchmarks.gpu.bench import Bench, Case, Precision
from benchmarks.gpu.profile import profile_by_class
from benchmarks.pipeline import Comparison, difference, seconds
from benchmarks.records import installed_version
from benchmarks.runs.budget import Figures, Row
from benchmarks.scenarios import Scenario
from pipelines.models.devices import default_dtype

COMPILE_SECONDS = 75  # a guess: two graphs took as long on two CPU cores
BATCH_SECONDS = 40  # one graph more
LORA_RANK = 64  # of the Lightning LoRAs
STREAMED_BLOCKS = 30  # half of them
DIFFERENCE_STEPS = 2  # enough to see a wrong loop, and short


def rows(bench: Bench, steps: int) -> list[Row]:
    """All rows. `steps` are those of the long renders: 50 for the published figures."""
    side = bench.size.side
    long, short = Case(side, steps), Case(side, 8, guidance=False, picture=True)
    compiled = replace(long, kernels=SEPARATE)
    relaxed, fused = (replace(long, kernels=kernels) for kernels in (Kernels(True), Kernels(fused_heads=True)))
    adapted = replace(short, rank=LORA_RANK)
    share = steps / 50
    small = Case(side // 2, 20, picture=True, kernels=SEPARATE)
    few = replace(small, steps=8, guidance=False)
    return [
        Row("ceilings of the device", partial(_ceilings, bench), 10),
        Row("ours", partial(bench.render, long), 15 + 20 * share),
        Row("profile of one step", partial(_profile, bench, "unquantized"), 5),
        Row("diffusers", partial(_diffusers, bench, long), 5 + 22 * share),
        Row("ours, compiled", partial(bench.render, compiled), COMPILE_SECONDS + 16 * share),
        Row("ours, fp8", partial(bench.render, long, "fp8"), 15 + 16 * share),
        Row("ours, fp8, compiled", partial(bench.render, compiled, "fp8"), COMPILE_SECONDS + 12 * share),
        Row("profile of one step, fp8, compiled", partial(bench.profile, compiled, "fp8"), 5),
        Row("profile of one step, fp8", partial(_profile, bench, "fp8"), 5),
        Row("ours, 8 steps without guidance, decoded", partial(bench.render, short), 15),
        Row("ours, 8 steps, LoRA on every layer", partial(bench.render, adapted), 6),
        Row(
            "ours, 8 steps, LoRA on every layer, compiled",
            partial(bench.render, replace(adapted, kernels=SEPARATE)),
            COMPILE_SECONDS + 4,
        ),
        Row("ours, compiled, relaxed", partial(bench.render, relaxed), COMPILE_SECONDS + 16 * share),
        Row("ours, compiled, fused heads", partial(bench.render, fused), COMPILE_SECONDS + 16 * share),
        Row("ours, half the side, 20 steps, decoded", partial(bench.render, small.plain), 6),
        Row("ours, half the side, 20 steps, decoded, compiled", partial(bench.render, small), COMPILE_SECONDS),
        Row("ours, half the side, 8 steps without guidance, compiled", partial(bench.render, few), 3),
        *_graph_rows(bench, small, few),
        Row(
            "ours, compiled, one batch",
            partial(bench.render, replace(compiled, batched=True)),
            BATCH_SECONDS + 16 * share,
        ),
        Row("ours, half the side, compiled, one batch", partial(bench.render, replace(small, batched=True)), 5),
        Row(
            "ours, compiled, tables",
            partial(bench.render, replace(compiled, share=HostShare(tables=True))),
            20 + 16 * share,
        ),
        Row(
            f"ours, compiled, {STREAMED_BLOCKS} blocks streamed",
            partial(bench.render, replace(compiled, share=HostShare(STREAMED_BLOCKS))),
            20 + 20 * share,
        ),
        Row(
            "ours, attention of torch's choice", partial(bench.render, replace(long, attention=TORCH)), 15 + 20 * share
        ),
        *_cache_rows(bench),
        Row("ours, 1.3 times the side", partial(bench.render, Case(_larger(side), steps)), 35 * share + 5),
        *_comparison_rows(bench),
    ]


def _graph_rows(bench: Bench, small: Case, few: Case) -> list[Row]:
    """The small renders with captured graphs, which only CUDA has."""
    if bench.device.type != "cuda":
        return []
    return [
        Row(f"{name}, graphs", partial(bench.render, replace(case, graphs=True)), 5)
        for name, case in (
            ("ours, half the side, 20 steps, decoded, compiled", small),
            ("ours, half the side, 8 steps without guidance, compiled", few),
        )
    ]


def _ceilings(bench: Bench) -> Figures:
    attention = choose_attention(bench.device, default_dtype(bench.device))
    kernels = {name: round(milliseconds, 3) for name, milliseconds in attention.milliseconds.items()}
    rates = {f"{name}_per_second": value for name, value in asdict(bench.ceilings).items()}
    return rates | {"attention_kernel": attention.kernel, "attention_ms": kernels, "warning": attention.warning}


def _diffusers(bench: Bench, case: Case) -> Figures:
    """Diffusers' unmodified pipeline, with the kernels that torch chooses for it."""
    comparison = Comparison(bench.models())
    few = Scenario("difference", "text_to_image", case.side, DIFFERENCE_STEPS, picture=False)
    apart = difference(comparison, few)  # warms up too
    scenario = Scenario("diffusers", "text_to_image", case.side, case.steps, picture=case.picture)
    taken = seconds(comparison, comparison.diffusers, scenario)
    work = bench.work(case.side, case.guidance) * case.steps
    return bench.figures(taken, case.steps, work) | {"latents_largest_difference": apart}


def _profile(bench: Bench, precision: Precision) -> Figures:
    harness = Harness(bench.models(precision))
    with bench.kernels():
        harness.time_step(harness.velocity, harness.noise(), 0)
        return profile_by_class(lambda: harness.time_step(harness.velocity, harness.noise(), 0), bench.device)


def _cache_rows(bench: Bench) -> list[Row]:
    """One schedule of reused steps for all, so that seconds do not depend on what random weights decide."""

    def uncached(harness: Harness) -> list[float]:
        return harness.time_loop(harness.velocity)

    sides = {
        "uncached": uncached,
        "ours, first block cache": lambda harness: run_ours(harness, "fbcache", DBCache(float("inf"), front=1)),
        "diffusers, first block cache": run_diffusers,
        "ours, DBCache": lambda harness: run_ours(harness, "dbcache", DBCache(float("inf"), front=harness.front)),
    }
    if installed_version("cache-dit"):
        sides["cache-dit, DBCache"] = lambda harness: run_cache_dit(harness, harness.front)

    def measure(name: str) -> Figures:
        harness = Harness(bench.models())
        with bench.kernels():
            sides[name](harness)
            taken = sides[name](harness)
        by_letter = {letter: [taken[i] for i in range(STEPS) if SCHEDULE[i] == letter] for letter in "CR"}
        return {
            "seconds": round(sum(taken), 4),
            "steps": STEPS,
            "schedule": SCHEDULE,
            "computed_step": round(min(by_letter["C"]), 5),
            "reused_step": round(min(by_letter["R"]), 5),
        }

    return [Row(f"step cache: {name}", partial(measure, name), 12) for name in sides]


def _comparison_rows(bench: Bench) -> list[Row]:
    """Edits and a ControlNet, ours beside diffusers."""
    side = bench.size.side
    scenarios = (
        Scenario("edit, 1 reference", "edit", side, 8, references=1),
        Scenario("edit, 3 references", "edit_plus", side, 8, references=3),
        Scenario("ControlNet", "text_to_image", side, 8, start="control image"),
    )

    def measure(scenario: Scenario) -> Figures:
        comparison = Comparison(bench.models())
        with bench.kernels():
            apart = difference(comparison, scenario)
            ours = seconds(comparison, comparison.ours, scenario)
        theirs = seconds(comparison, comparison.diffusers, scenario)
        return {
            "seconds": round(ours, 4),
            "diffusers_seconds": round(theirs, 4),
            "ratio": round(ours / theirs, 3),
            "steps": scenario.steps,
            "picture_largest_difference": apart,
        }

    return [Row(scenario.name, partial(measure, scenario), 25) for scenario in scenarios]


def _larger(side: int) -> int:
    """About 1.3 times a side, a multiple of 16: 1328 for 1024, as Qwen-Image's own examples have it."""
    return round(1328 / 1024 * side / 16) * 16
