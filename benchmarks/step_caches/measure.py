"""Measures one variant of a prompt beside its uncached baseline: time, memory, host syncs, decisions and similarity.

Variant and baseline take turns in one process, so that their ratio does not depend on the machine's load. Knows the
loop; knows no file.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel

from accel.cache.report import Decision
from benchmarks.runs.synchronize import synchronize
from benchmarks.step_caches.host_syncs import HostSyncCounter
from benchmarks.step_caches.ocr import Reader
from benchmarks.step_caches.prompts import Prompt
from benchmarks.step_caches.results import Case, Measurement, Run, Setup, Similarity
from benchmarks.step_caches.similarity import compare
from benchmarks.step_caches.variants import Variant
from pipelines.catalog.catalog import ModelEntry
from pipelines.generate import generate
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.devices import device_name
from pipelines.models.model_fingerprint import model_fingerprint
from pipelines.request import RenderRequest

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class TimedImage:
    """An image, its cost, and the decisions of its step cache."""

    image: Image.Image
    run: Run
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Measurer:
    """Measures variants on one model at one size. `reader` reads words in the images; None skips that."""

    checkpoint: Checkpoint
    entry: ModelEntry
    width: int
    height: int
    reader: Reader | None = None

    @property
    def setup(self) -> Setup:
        """The setup of every measurement made here."""
        return Setup(
            model=self.entry.air,
            weights=model_fingerprint(self.entry.files),
            device=device_name(str(self.checkpoint.device)),
            dtype=str(self.checkpoint.dtype).removeprefix("torch."),
            width=self.width,
            height=self.height,
        )

    def case(self, variant: Variant, prompt: Prompt, seed: int, steps: int) -> Case:
        """The case that `measure` measures with the same arguments."""
        references = tuple(reference.sha256 for reference in prompt.references)
        return Case(self.setup, prompt.text, references, seed, steps, variant.kind, variant.executed, variant.plan)

    def measure(
        self, variant: Variant, prompt: Prompt, seed: int, steps: int, repeats: int
    ) -> tuple[Measurement, Image.Image]:
        """Measure a case and return its image too. Variant and baseline are each rendered `repeats` times."""
        baseline_request = self.request(prompt, seed, steps)
        request = replace(baseline_request, steps=variant.executed, cache=variant.plan)
        pairs = []
        for _ in range(repeats):
            baseline = self.render(baseline_request)
            with _attention_kernel(variant):
                pairs.append((self.render(request), baseline))
        rendered, baseline = pairs[-1]
        measurement = Measurement(
            case=self.case(variant, prompt, seed, steps),
            name=variant.name,
            family=variant.family,
            options=variant.options,
            on_wire=variant.on_wire,
            words=prompt.words,
            runs=tuple(own.run for own, _ in pairs),
            baselines=tuple(other.run for _, other in pairs),
            similarity=self._similarity(rendered.image, baseline.image, prompt),
            decisions=rendered.decisions,
            versions={package: version(package) for package in ("torch", "diffusers")},
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return measurement, rendered.image

    def request(self, prompt: Prompt, seed: int, steps: int) -> RenderRequest:
        """The baseline's request: all steps, no cache, and the model's defaults for everything else."""
        return RenderRequest(
            model=self.entry.air,
            prompt=prompt.text,
            negative_prompt=None,
            width=self.width,
            height=self.height,
            steps=steps,
            sampler=self.entry.sampler,
            true_cfg_scale=self.entry.true_cfg_scale,
            seed=seed,
            references=prompt.references,
        )

    def render(self, request: RenderRequest) -> TimedImage:
        """Render a request once, without anything kept from an earlier render."""
        device = self.checkpoint.device
        times: dict[int, float] = {}
        counter = HostSyncCounter()
        syncs: dict[int, int] = {}

        def report(step: int, total: int) -> None:
            if step in (0, total):
                synchronize(device)
                times[step], syncs[step] = time.perf_counter(), counter.count

        # A request with a new prompt has to encode it, so a prompt that was rendered before must be encoded again.
        model = LoadedModel(self.checkpoint)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        synchronize(device)
        started = time.perf_counter()
        with counter:
            generated = generate(request, 0, model, self.entry, report)
        synchronize(device)
        ended = time.perf_counter()
        peak = torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else None
        first, last = min(times), max(times)
        run = Run(round(times[last] - times[first], 5), round(ended - started, 5), peak, syncs[last] - syncs[first])
        decisions = () if generated.cache is None else tuple(_rounded(each) for each in generated.cache.decisions)
        return TimedImage(generated.image, run, decisions)

    def _similarity(self, image: Image.Image, baseline: Image.Image, prompt: Prompt) -> Similarity:
        similarity = compare(image, baseline)
        if self.reader is None or not prompt.words:
            return similarity
        return replace(similarity, text=self.reader.read(image), baseline_text=self.reader.read(baseline))


def _attention_kernel(variant: Variant) -> AbstractContextManager[object]:
    """The default attention kernel, or for `other_kernel` one that adds in another order."""
    return sdpa_kernel(SDPBackend.MATH) if variant.kind == "other_kernel" else nullcontext()


def _rounded(decision: Decision) -> Decision:
    """A decision with the digits that a plot shows: one file holds thousands of them."""
    rounded = (None if value is None else round(value, _DIGITS) for value in (decision.distance, decision.score))
    distance, score = rounded
    return replace(decision, distance=distance, score=score)
