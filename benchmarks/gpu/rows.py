"""The rows of the GPU benchmark, the most valuable first.

Knows what is compared; knows no time limit and no file.
"""

from dataclasses import asdict, replace
from functools import partial

from accel.kernels.attention import TORCH, choose_attention
from accel.kernels.compiled_block import SEPARATE, Kernels
from accel.weights.placement import HostShare
from benchmarks.cache_harness import Harness
from benchmarks.gpu.bench import Bench, Case, Precision
from benchmarks.gpu.profile import profile_by_class
from benchmarks.gpu.row_groups.cache_rows import compiled_cache_rows, plain_cache_rows
from benchmarks.gpu.row_groups.encoder_rows import encoder_rows
from benchmarks.gpu.row_groups.loading_rows import loading_rows
from benchmarks.gpu.row_groups.queue_rows import queue_rows
from benchmarks.gpu.row_groups.task_rows import task_rows
from benchmarks.gpu.switches import FIRST_LENGTH, KNOWN_LENGTH
from benchmarks.gpu.waterfall import EVERY_KERNEL
from benchmarks.pipeline import Comparison, difference, seconds
from benchmarks.runs.budget import Figures, Row
from benchmarks.runs.records import installed_version
from benchmarks.scenarios import Scenario
from pipelines.models.devices import default_dtype

# A guess: two graphs took as long on two CPU cores. Rows of one graph share it, and the first of them counts it.
COMPILE_SECONDS = 75
BATCH_SECONDS = 40  # one graph more
LORA_RANK = 64  # of the Lightning LoRAs
STREAMED_BLOCKS = 30  # half of them
COMPILED_AGAIN = "compiling again from the files"
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
    tables = replace(compiled, share=HostShare(tables=True))
    every = replace(tables, kernels=Kernels(gelu_in_product=True, fused_heads=True))
    return [
        Row("ceilings of the device", partial(_ceilings, bench), 10),
        Row("ours", partial(bench.render, long), 15 + 20 * share),
        Row("profile of one step", partial(_profile, bench, "unquantized"), 5),
        Row("diffusers", partial(_diffusers, bench, long), 5 + 22 * share),
        Row("ours, compiled", partial(bench.render, compiled), COMPILE_SECONDS + 16 * share),
        Row("ours, compiled, cached", partial(bench.render, replace(compiled, cached=True)), 10 + 6 * share),
        Row("ours, 8 steps without guidance, decoded", partial(bench.render, short), 6),
        Row(
            "ours, 8 steps without guidance, decoded, compiled",
            partial(bench.render, replace(short, kernels=SEPARATE)),
            6,
        ),
        *queue_rows(bench, replace(short, kernels=SEPARATE)),
        Row("ours, half the side, 20 steps, decoded", partial(bench.render, small.plain), 6),
        Row("ours, half the side, 20 steps, decoded, compiled", partial(bench.render, small), 6),
        Row("ours, half the side, 8 steps without guidance, compiled", partial(bench.render, few), 3),
        *_graph_rows(bench, small, few),
        *compiled_cache_rows(bench),
        Row("ours, fp8", partial(bench.render, long, "fp8"), 15 + 16 * share),
        Row("ours, fp8, compiled", partial(bench.render, compiled, "fp8"), COMPILE_SECONDS + 12 * share),
        Row(
            "ours, fp8, compiled, cached", partial(bench.render, replace(compiled, cached=True), "fp8"), 10 + 4 * share
        ),
        Row("profile of one step, fp8, compiled", partial(bench.profile, compiled, "fp8"), 5),
        Row("profile of one step, fp8", partial(_profile, bench, "fp8"), 5),
        Row("profile of one step, compiled", partial(bench.profile, compiled), 15),
        Row("ours, 8 steps, LoRA on every layer", partial(bench.render, adapted), 6),
        Row(
            "ours, 8 steps, LoRA on every layer, compiled",
            partial(bench.render, replace(adapted, kernels=SEPARATE)),
            COMPILE_SECONDS + 4,
        ),
        Row(
            "ours, compiled, one batch",
            partial(bench.render, replace(compiled, batched=True)),
            BATCH_SECONDS + 16 * share,
        ),
        Row("ours, half the side, compiled, one batch", partial(bench.render, replace(small, batched=True)), 5),
        Row(
            "ours, compiled, tables",
            partial(bench.render, tables),
            20 + 16 * share,
        ),
        Row(EVERY_KERNEL, partial(bench.render, every), COMPILE_SECONDS + 16 * share),
        Row(
            f"ours, compiled, {STREAMED_BLOCKS} blocks streamed",
            partial(bench.render, replace(compiled, share=HostShare(STREAMED_BLOCKS))),
            20 + 20 * share,
        ),
        Row("ours, compiled, relaxed", partial(bench.render, relaxed), COMPILE_SECONDS + 16 * share),
        Row("ours, compiled, fused heads", partial(bench.render, fused), COMPILE_SECONDS + 16 * share),
        *task_rows(bench, few),
        Row(COMPILED_AGAIN, partial(bench.compile_again, compiled), 30),
        Row(
            "ours, attention of torch's choice", partial(bench.render, replace(long, attention=TORCH)), 15 + 20 * share
        ),
        *plain_cache_rows(bench),
        *encoder_rows(bench),
        *loading_rows(bench),
        Row(FIRST_LENGTH, partial(bench.attention_seconds, known=False), 2),
        Row(KNOWN_LENGTH, partial(bench.attention_seconds, known=True), 2),
        Row("ours, 1.3 times the side", partial(bench.render, Case(_larger(side), steps)), 35 * share + 5),
        *_comparison_rows(bench),
        *(Row(f"ours, {each}", partial(bench.render, long, each), 15 + 40 * share) for each in _slow_precisions()),
    ]


def _slow_precisions() -> list[Precision]:
    """Those that save memory and no time. NF4 needs its library."""
    return ["int8", "nf4"] if installed_version("bitsandbytes") else ["int8"]


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


def _comparison_rows(bench: Bench) -> list[Row]:
    """Edits and a ControlNet, ours beside diffusers."""
    side = bench.size.side
    # Their seconds are guesses for four renders: references double or quadruple the tokens.
    scenarios = {
        Scenario("edit, 1 reference", "edit", side, 8, references=1): 40,
        Scenario("ControlNet", "text_to_image", side, 8, start="control image"): 25,
        Scenario("edit, 3 references", "edit_plus", side, 4, references=3): 60,
    }

    def measure(scenario: Scenario) -> Figures:
        comparison = Comparison(bench.models())
        with bench.kernels():
            apart = difference(comparison, scenario)
            bench.reset_peak()
            ours = seconds(comparison, comparison.ours, scenario)
        net = len(comparison.models.controlnet.transformer_blocks) if scenario.start == "control image" else 0
        work = bench.work(side, guidance=True, references=scenario.references, control_blocks=net) * scenario.steps
        found = bench.figures(ours, scenario.steps, work)
        theirs = seconds(comparison, comparison.diffusers, scenario)
        return found | {
            "diffusers_seconds": round(theirs, 4),
            "ratio": round(ours / theirs, 3),
            "picture_largest_difference": apart,
        }

    return [Row(scenario.name, partial(measure, scenario), taken) for scenario, taken in scenarios.items()]


def _larger(side: int) -> int:
    """About 1.3 times a side, a multiple of 16: 1328 for 1024, as Qwen-Image's own examples have it."""
    return round(1328 / 1024 * side / 16) * 16
