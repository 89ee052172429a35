"""One model of random weights that is placed for one emulated card after the other, and rendered on it.

Knows the loop and the models; knows no order of rows.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import torch

from accel.kernels.attention import attention_kernel, choose_attention
from accel.weights.copy_engine import make_engine
from accel.weights.placement import EVERYTHING_RESIDENT, HostShare, PlacedWeights, place_transformer
from accel.weights.quantized.quantize import quantize
from benchmarks.fit.cards import CONTEXT_BYTES, LINK, STEP_SECONDS, Case, Precision, StepTimes, plan
from benchmarks.random_models import SEED, TRUE_CFG_SCALE, ModelSize, RandomModels
from benchmarks.runs.budget import Figures
from benchmarks.runs.relative_difference import relative_difference
from benchmarks.runs.synchronize import synchronize
from pipelines.conditioning import EncodedReferences
from pipelines.latents import grid
from pipelines.models.devices import free_memory
from pipelines.models.loading.loader import beside_the_modulation
from pipelines.models.planning.cards import GIB
from pipelines.render.prepare import begin
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, finish
from pipelines.request import RenderRequest, Sampler

_PLANNED_BLOCKS, _PLANNED_SIDE = 60, 1024  # of the model and the image that the plan is for
_COPIES = 10  # to measure the link
_COPIED_BYTES = {"cuda": 512 * 2**20, "cpu": 2**20}


class Bench:
    """The model in one precision at a time. Latents and seconds of resident renders are kept for comparison."""

    def __init__(self, size: ModelSize, device: torch.device, steps: int) -> None:
        self._size, self._device, self._steps = size, device, steps
        self._precision: Precision | None = None
        self._models: RandomModels | None = None
        self._resident: dict[tuple[Precision, int], tuple[torch.Tensor, float]] = {}

    def measure(self, case: Case) -> Figures:
        """Render a case on its card, and compare it with resident weights."""
        if (case.precision, case.references) not in self._resident:
            self._render(replace(case, gib=None))
        return self._render(case)

    def measure_link(self) -> Figures:
        """The rate of copies from pinned host memory."""
        return {"copy_gb_per_second": round(self.link / 1e9, 1)}

    @cached_property
    def link(self) -> float:
        """Bytes a second from pinned host memory to the device, measured when it is first asked for."""
        engine, size = make_engine(self._device), _COPIED_BYTES[self._device.type]
        source, target = engine.allocate_host(size), engine.allocate_device(size)
        engine.wait(engine.copy(target, source, engine.mark()))
        synchronize(self._device)
        started = time.perf_counter()
        for _ in range(_COPIES):
            engine.wait(engine.copy(target, source, engine.mark()))
        synchronize(self._device)
        return _COPIES * size / (time.perf_counter() - started)

    def _render(self, case: Case) -> Figures:
        models = self._built(case.precision)
        transformer = models.checkpoint.transformer
        link = self.link
        place_transformer(transformer, self._device)
        free_memory()
        share, ballast_bytes = self._share(case)
        placed = place_transformer(transformer, self._device, share)
        free_memory()
        with torch.inference_mode(False):
            ballast = torch.empty(ballast_bytes, dtype=torch.uint8, device=self._device)
        with self._limited(case.gib):
            started = time.perf_counter()
            state = self._begin(models, case, placed)
            advance([state])
            synchronize(self._device)
            first = time.perf_counter() - started
            started = time.perf_counter()
            while state.step < state.total:
                advance([state])
            synchronize(self._device)
            seconds = (time.perf_counter() - started) / (self._steps - 1)
            latents = state.latents.cpu()
            finish(state)
            peak = self._peak()
        del ballast, state
        return self._figures(case, placed, latents, seconds, link) | {
            "first_step_seconds": round(first, 3),
            "limit_gib": case.gib,
            "peak_gib": peak,
            "within_limit": None if peak is None or case.gib is None else peak <= case.gib,
        }

    def _figures(
        self, case: Case, placed: PlacedWeights, latents: torch.Tensor, seconds: float, link: float
    ) -> Figures:
        report = placed.report
        if case.gib is None:
            self._resident[case.precision, case.references] = latents, seconds
        expected, resident = self._resident[case.precision, case.references]
        # A step of another kind takes as many times longer on the slower card as on this one.
        compute = STEP_SECONDS * resident / self._resident.get(("bf16", 0), (None, resident))[1]
        times = StepTimes(resident, seconds, report.streamed_gib * GIB, link)
        return {
            "precision": case.precision,
            "references": case.references,
            "steps": self._steps,
            "seconds_per_step": round(seconds, 5),
            "resident_seconds_per_step": round(resident, 5),
            "ratio": round(times.ratio, 3),
            "ratio_at_4090_step_time": round(times.ratio_on_slower_card(compute, link), 3),
            "ratio_at_4090_step_time_and_link": round(times.ratio_on_slower_card(compute, LINK), 3),
            "bit_equal": torch.equal(latents, expected),
            "latents_relative_difference": relative_difference(latents, expected),
            "finite": bool(latents.isfinite().all()),
            "resident_gib": round(report.resident_gib, 2),
            "streamed_gib": round(report.streamed_gib, 2),
            "streamed_blocks": report.streamed_blocks,
            "tables": report.tables,
            "copy_gb_per_second": round(link / 1e9, 1),
        }

    def _built(self, precision: Precision) -> RandomModels:
        """The models, built anew when another precision was built before. ControlNet and video VAE are dropped."""
        if self._models is None or self._precision != precision:
            self.forget()
            models = RandomModels.build(self._size, self._device)
            models = replace(models, controlnet=cast("Any", None), video_vae=cast("Any", None))
            if precision != "bf16":
                quantize(models.checkpoint.transformer, precision, skip=lambda name: not beside_the_modulation(name))
            self._models, self._precision = models, precision  # not before all of it is done
            free_memory()
        return self._models

    def forget(self) -> None:
        """Free the models. They are built anew when they are needed; latents and seconds are kept."""
        self._models = None
        free_memory()

    def _share(self, case: Case) -> tuple[HostShare, int]:
        """What waits in host memory as the plan says, and the bytes that an encoder on the card would take."""
        if case.gib is None:
            return EVERYTHING_RESIDENT, 0
        planned = plan(case, _PLANNED_SIDE)
        depth = int(self._size.transformer.get("num_layers", _PLANNED_BLOCKS))
        blocks = math.ceil(planned.transformer.streamed_blocks * depth / _PLANNED_BLOCKS)
        encoder = planned.text_encoder.resident_bytes if depth == _PLANNED_BLOCKS else 0
        return HostShare(blocks, planned.tables), encoder

    def _begin(self, models: RandomModels, case: Case, placed: PlacedWeights) -> RenderState:
        side = self._size.side
        references = None
        if case.references:
            tokens = torch.cat([models.noise(side)] * case.references, dim=1)
            shapes = (grid(side, side, models.checkpoint.vae),) * case.references
            references = EncodedReferences(tokens, shapes, (), "random")
        return begin(
            RenderRequest("", "", None, side, side, self._steps, Sampler(), TRUE_CFG_SCALE, SEED),
            replace(models.checkpoint, placed=placed),
            noise=models.noise(side),
            cond=models.prompt(),
            uncond=models.negative_prompt(),
            references=references,
        )

    @contextmanager
    def _limited(self, gib: int | None) -> Iterator[None]:
        """Limit what torch may allocate to a card of `gib`, without what CUDA takes itself."""
        if self._device.type != "cuda":
            yield
            return
        total = torch.cuda.get_device_properties(self._device).total_memory
        limit = total if gib is None else gib * GIB - CONTEXT_BYTES
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        try:
            with attention_kernel(choose_attention(self._device, torch.bfloat16).kernel):
                yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, self._device)
            free_memory()

    def _peak(self) -> float | None:
        """GiB at the peak, with what CUDA takes itself. None on a CPU."""
        if self._device.type != "cuda":
            return None
        return round((torch.cuda.max_memory_reserved(self._device) + CONTEXT_BYTES) / GIB, 2)
