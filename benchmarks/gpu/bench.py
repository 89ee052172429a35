"""What the rows of the GPU benchmark share: models of random weights in one precision at a time, and one timed render.

Knows the loop and the models; knows no row.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal, cast

import torch
from torch._inductor.async_compile import shutdown_compile_workers
from torch.nn.functional import scaled_dot_product_attention

from accel.kernels.attention import AUTO, attention_kernel, choose_attention
from accel.kernels.block_graphs import BlockGraphs
from accel.kernels.compiled_block import CompiledBlocks, Kernels, read_graphs
from accel.kernels.cuda_capture import CudaCapture
from accel.kernels.low_rank import LAYERS
from accel.weights.placement import EVERYTHING_RESIDENT, HostShare, place_transformer
from accel.weights.quantized.quantize import quantize
from benchmarks.cache_harness import forced_session
from benchmarks.gpu.arithmetic import Work, forward_work
from benchmarks.gpu.ceilings import Ceilings, Shapes, measure
from benchmarks.gpu.profile import profile_by_class
from benchmarks.random_models import NEGATIVE_TOKENS, PROMPT_TOKENS, SEED, TRUE_CFG_SCALE, ModelSize, RandomModels
from benchmarks.runs.budget import Figures
from benchmarks.runs.relative_difference import relative_difference
from benchmarks.runs.synchronize import synchronize
from pipelines.latents import grid
from pipelines.lora.apply import NO_LORAS, LoraSet, make_lora_set
from pipelines.lora.deltas import Delta, LoRA
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.devices import default_dtype, free_memory
from pipelines.models.loading.loader import beside_the_modulation
from pipelines.render.prepare import begin
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, finish
from pipelines.request import RenderRequest, Sampler

# What others divide by on an H100 and an H200: the dense bfloat16 rate that they sustain (sglang #33536).
SUSTAINED_RATE = 790e12
WARM_UP_STEPS = 2
# Tokens of prompts, for the calls before which a length is unknown and those before which it is known.
_NEW_LENGTHS = {False: range(201, 206), True: range(211, 216)}
LORA_STRENGTH = 0.02  # a small part of what the layer itself gives

PIXELS_OF_A_TOKEN = 16 * 16

Precision = Literal["unquantized", "fp8", "int8", "nf4"]


@dataclass(frozen=True)
class Case:
    """A text-to-image render: `side` pixels, `steps`, with guidance or without, decoded or latents alone.

    `kernels` are those of compiled blocks; None compiles none. `rank` is that of a LoRA on every layer of the blocks.
    `batched` runs both branches as one batch, and `graphs` replays captured graphs. `share` waits in host memory.
    `attention` is a kernel, or `auto` for the fastest. `cached` reuses a forced schedule of steps.
    """

    side: int
    steps: int
    guidance: bool = True
    picture: bool = False
    kernels: Kernels | None = None
    rank: int = 0
    batched: bool = False
    graphs: bool = False
    share: HostShare = EVERYTHING_RESIDENT
    attention: str = AUTO
    cached: bool = False

    @property
    def plain(self) -> "Case":
        """The same render without a switch that changes how it is computed."""
        return replace(
            self, kernels=None, batched=False, graphs=False, share=EVERYTHING_RESIDENT, attention=AUTO, cached=False
        )


class Bench:
    """Models on one device. Only those of one precision exist at a time."""

    def __init__(self, size: ModelSize, device: torch.device) -> None:
        self.size, self.device = size, device
        self._built: tuple[Precision, HostShare] = "unquantized", EVERYTHING_RESIDENT
        self._models: RandomModels | None = None
        self._graphs: BlockGraphs | None = None
        self._compiled: dict[Kernels, CompiledBlocks] = {}
        self._latents: dict[tuple[Case, Precision], torch.Tensor] = {}

    @cached_property
    def ceilings(self) -> Ceilings:
        """The device's own rates, measured when they are first asked for."""
        config = self.size.transformer
        head, heads = config.get("attention_head_dim", 128), config.get("num_attention_heads", 24)
        tokens = (self.size.side // 16) ** 2
        width = head * heads
        copied = 512 if self.device.type == "cuda" else 8
        return measure(
            self.device,
            default_dtype(self.device),
            Shapes(tokens, width, 4 * width, heads, tokens + PROMPT_TOKENS, copied),
        )

    def models(self, precision: Precision = "unquantized", share: HostShare = EVERYTHING_RESIDENT) -> RandomModels:
        """The models, built anew when others were built before. The `share` waits in host memory."""
        if self._models is None or self._built != (precision, share):
            self.forget()
            models = RandomModels.build(self.size, self.device)
            transformer = models.checkpoint.transformer
            if precision != "unquantized":
                quantize(transformer, precision, skip=lambda name: not beside_the_modulation(name))
            if share != EVERYTHING_RESIDENT:
                placed = place_transformer(transformer, self.device, share)
                models = replace(models, checkpoint=replace(models.checkpoint, placed=placed))
            self._models, self._built = models, (precision, share)  # not before all of it is done
        return self._models

    def forget(self) -> None:
        """Free the models and what was captured of them. They are built anew when they are needed."""
        self._models = self._graphs = None
        free_memory()

    def recover(self) -> None:
        """Free what a failed row has left behind. What it was compiling is begun anew, in new processes."""
        self._compiled.clear()
        torch.compiler.reset()
        shutdown_compile_workers()
        self.forget()

    def render(self, case: Case, precision: Precision = "unquantized") -> Figures:
        """Render a case once, after some steps that warm up. Returns its figures."""
        models = self.models(precision, case.share)
        started = time.perf_counter()
        with self.kernels(case.attention):
            state = self.begin(models, replace(case, steps=WARM_UP_STEPS))
            self._run(state)
            first = time.perf_counter() - started
            self.reset_peak()
            started = time.perf_counter()
            state = self.begin(models, case)
            if case.cached:
                state.cache = forced_session([sigma.number for sigma in state.sigmas])
            self._run(state)
            if case.picture:
                finish(state)
            synchronize(self.device)
            seconds = time.perf_counter() - started
        self._latents[case, precision] = state.latents
        work = self.work(case.side, case.guidance) * case.steps
        found = {"first_seconds": round(first, 2), "finite": bool(torch.isfinite(state.latents).all())}
        if state.cache is not None:
            found["reused_steps"] = state.cache.report().patterns["cond"].count("R")
        if case.graphs and self._graphs is not None:
            found |= {"graphs": self._graphs.count, "graphs_gib": round(self._graphs.bytes / 2**30, 2)}
        return self.figures(seconds, case.steps, work) | found | self._difference(case, precision)

    def attention_seconds(self, *, known: bool) -> Figures:
        """Median seconds of one attention at lengths of prompts that were not used before, or of the call after it."""
        config = self.size.transformer
        head, heads = config.get("attention_head_dim", 128), config.get("num_attention_heads", 24)
        found = []
        with self.kernels():
            for words in _NEW_LENGTHS[known]:
                shape = (1, heads, (self.size.side // 16) ** 2 + words, head)
                query = torch.randn(shape, device=self.device, dtype=default_dtype(self.device))
                taken = [self._timed(query) for _ in range(2)]
                found.append(taken[known])
        return {"seconds": round(statistics.median(found), 6)}

    def _timed(self, query: torch.Tensor) -> float:
        synchronize(self.device)
        started = time.perf_counter()
        scaled_dot_product_attention(query, query, query)
        synchronize(self.device)
        return time.perf_counter() - started

    def profile(self, case: Case, precision: Precision = "unquantized") -> Figures:
        """Device seconds of one step by class of kernel, after some steps that warm up."""
        state = self.begin(self.models(precision, case.share), replace(case, steps=WARM_UP_STEPS + 1))
        with self.kernels(case.attention):
            for _ in range(WARM_UP_STEPS):
                advance([state])
            return profile_by_class(lambda: advance([state]), self.device)

    def work(self, side: int, guidance: bool, references: int = 0, control_blocks: int = 0) -> Work:
        """The work of one step. References have the area of `ModelSize`. `control_blocks` are those of a ControlNet."""
        _, rows, columns = grid(side, side, self.models(*self._built).checkpoint.vae)
        tokens = rows * columns + references * self.size.reference_area // PIXELS_OF_A_TOKEN
        prompts = (PROMPT_TOKENS, NEGATIVE_TOKENS) if guidance else (PROMPT_TOKENS,)
        depth = len(self.models(*self._built).checkpoint.transformer.transformer_blocks) + control_blocks
        works = [forward_work(self.size.transformer | {"num_layers": depth}, tokens, words) for words in prompts]
        return sum(works[1:], start=works[0])

    def compile_again(self, case: Case) -> Figures:
        """Seconds until blocks run compiled that another process has compiled before: its files are there."""
        models = self.models("unquantized", case.share)
        torch.compiler.reset()
        self._compiled.clear()
        before = read_graphs()
        started = time.perf_counter()
        with self.kernels(case.attention):
            self._run(self.begin(models, replace(case, steps=WARM_UP_STEPS)))
        return {"first_seconds": round(time.perf_counter() - started, 2), "read_graphs": read_graphs() - before}

    def figures(self, seconds: float, steps: int, work: Work) -> Figures:
        """The figures of a timed render: seconds, and the shares of the work's least time."""
        return {
            "seconds": round(seconds, 4),
            "steps": steps,
            "seconds_per_step": round(seconds / steps, 5),
            "tflops": round(work.total / seconds / 1e12, 1),
            "share_of_790": round(work.total / seconds / SUSTAINED_RATE, 3),
            "floor_seconds": round(self.ceilings.least_seconds(work), 4),
            "share_of_ceilings": round(self.ceilings.least_seconds(work) / seconds, 3),
            "peak_gib": self.peak_gib(),
        }

    @contextmanager
    def kernels(self, attention: str = AUTO) -> Iterator[None]:
        """Inside the block attention has this kernel. By default it is the device's fastest, as in a server."""
        with attention_kernel(choose_attention(self.device, default_dtype(self.device), attention).kernel):
            yield

    def begin(self, models: RandomModels, case: Case) -> RenderState:
        """The state of a case before its first step."""
        scale = TRUE_CFG_SCALE if case.guidance else 1.0
        checkpoint = self.checkpoint(models, case)
        return begin(
            RenderRequest("", "", None, case.side, case.side, case.steps, Sampler(), scale, SEED),
            checkpoint,
            noise=models.noise(case.side),
            cond=models.prompt(),
            uncond=models.negative_prompt() if case.guidance else None,
            loras=self._loras(checkpoint, case.rank) if case.rank else NO_LORAS,
        )

    def checkpoint(self, models: RandomModels, case: Case) -> Checkpoint:
        """The checkpoint of the models, with the switches of a case."""
        return replace(
            models.checkpoint,
            compiled=None if case.kernels is None else self.blocks(case.kernels),
            batch_branches=case.batched,
            graphs=self._block_graphs() if case.graphs else None,
        )

    def blocks(self, kernels: Kernels) -> CompiledBlocks:
        """What runs compiled blocks with these kernels. All rows share what it has compiled."""
        return self._compiled.setdefault(kernels, CompiledBlocks(kernels=kernels))

    def _block_graphs(self) -> BlockGraphs:
        if self._graphs is None:
            self._graphs = BlockGraphs(CudaCapture(self.device))
        return self._graphs

    def _loras(self, checkpoint: Checkpoint, rank: int) -> LoraSet:
        """A small random LoRA on every layer of the blocks."""
        deltas: dict[str, list[tuple[Delta, float]]] = {}
        torch.manual_seed(SEED)
        for number, block in enumerate(checkpoint.transformer.transformer_blocks):
            for name in LAYERS:
                layer = cast("torch.nn.Linear", block.get_submodule(name))
                new = partial(torch.randn, device=self.device, dtype=checkpoint.dtype)
                down, up = new(rank, layer.in_features), new(layer.out_features, rank)
                factor = layer.in_features**-0.5
                deltas[f"transformer_blocks.{number}.{name}"] = [(LoRA(down * factor, up * LORA_STRENGTH), 1.0)]
        return make_lora_set(deltas, checkpoint)

    def _run(self, state: RenderState) -> None:
        while state.step < state.total:
            advance([state])
        synchronize(self.device)

    def _difference(self, case: Case, precision: Precision) -> Figures:
        """How far the latents are from the unquantized ones without compilation, relative to those."""
        plain = self._latents.get((case.plain, "unquantized"))
        found = self._latents[case, precision]
        if plain is None or plain is found:
            return {}
        return {"latents_relative_difference": relative_difference(found, plain)}

    def reset_peak(self) -> None:
        """Forget the largest amount of memory so far."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_gib(self) -> float | None:
        """The most memory since then; None on a CPU."""
        if self.device.type != "cuda":
            return None
        return round(torch.cuda.max_memory_allocated(self.device) / 2**30, 2)
