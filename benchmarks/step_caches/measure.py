"""One way of drawing a prompt beside its uncached twin: time, memory, waits, decisions and likeness.

The two take turns in one process, so that their ratio stands where the machine's pace does not. Knows the loop; knows
no file.
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
from benchmarks.step_caches.host_syncs import HostReads
from benchmarks.step_caches.ocr import Reader
from benchmarks.step_caches.prompts import Prompt
from benchmarks.step_caches.results import Case, Likeness, Place, Result, Run
from benchmarks.step_caches.similarity import compare
from benchmarks.step_caches.variants import Job
from pipelines.catalog.catalog import ModelEntry
from pipelines.generate import generate
from pipelines.models.encodings import Encodings
from pipelines.models.loader import Checkpoint, device_name
from pipelines.receipt import fingerprint
from pipelines.request import RenderRequest, Sampler

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, what it took, and what a cache decided on the way."""

    picture: Image.Image
    run: Run
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """A model, the size of its pictures, and what reads words in them, if that is there."""

    checkpoint: Checkpoint
    entry: ModelEntry
    width: int
    height: int
    reader: Reader | None = None

    @property
    def place(self) -> Place:
        """Where everything here is drawn."""
        return Place(
            model=self.entry.air,
            weights=fingerprint(self.entry.weights),
            device=device_name(str(self.checkpoint.device)),
            dtype=str(self.checkpoint.dtype).removeprefix("torch."),
            width=self.width,
            height=self.height,
        )

    def case(self, job: Job, prompt: Prompt, seed: int, steps: int) -> Case:
        """What `measure` will answer for."""
        references = tuple(picture.sha256 for picture in prompt.references)
        return Case(self.place, prompt.text, references, seed, steps, job.kind, job.executed, job.plan)

    def measure(self, job: Job, prompt: Prompt, seed: int, steps: int, repeats: int) -> tuple[Result, Image.Image]:
        """The result of a case and its picture. It and its twin are drawn `repeats` times."""
        whole = self.request(prompt, seed, steps)
        request = replace(whole, steps=job.executed, cache=job.plan)
        pairs = []
        for _ in range(repeats):
            twin = self.draw(whole)
            with _kernel(job):
                pairs.append((self.draw(request), twin))
        drawn, twin = pairs[-1]
        result = Result(
            case=self.case(job, prompt, seed, steps),
            name=job.name,
            family=job.family,
            knobs=job.knobs,
            on_wire=job.on_wire,
            words=prompt.words,
            runs=tuple(own.run for own, _ in pairs),
            twins=tuple(other.run for _, other in pairs),
            likeness=self._likeness(drawn.picture, twin.picture, prompt),
            decisions=drawn.decisions,
            versions={package: version(package) for package in ("torch", "diffusers")},
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return result, drawn.picture

    def request(self, prompt: Prompt, seed: int, steps: int) -> RenderRequest:
        """The picture with all its steps and no cache, everything else as the model has it by default."""
        return RenderRequest(
            model=self.entry.air,
            prompt=prompt.text,
            negative_prompt=None,
            width=self.width,
            height=self.height,
            steps=steps,
            sampler=Sampler(),
            true_cfg_scale=self.entry.true_cfg_scale,
            seed=seed,
            references=prompt.references,
        )

    def draw(self, request: RenderRequest) -> Drawn:
        """Draw it once, from nothing kept of the time before."""
        device = self.checkpoint.device
        times: dict[int, float] = {}
        reads = HostReads()
        waits: dict[int, int] = {}

        def report(step: int, total: int) -> None:
            if step in (0, total):
                _synchronise(device)
                times[step], waits[step] = time.perf_counter(), reads.count

        # A request with a new prompt has to encode it, so a prompt that was drawn before must be, too.
        checkpoint = replace(self.checkpoint, encodings=Encodings())
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        _synchronise(device)
        started = time.perf_counter()
        with reads:
            generated = generate(request, 0, checkpoint, self.entry, report)
        _synchronise(device)
        ended = time.perf_counter()
        peak = torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else None
        first, last = min(times), max(times)
        run = Run(round(times[last] - times[first], 5), round(ended - started, 5), peak, waits[last] - waits[first])
        decisions = () if generated.cache is None else tuple(_short(each) for each in generated.cache.decisions)
        return Drawn(generated.image, run, decisions)

    def _likeness(self, picture: Image.Image, twin: Image.Image, prompt: Prompt) -> Likeness:
        likeness = compare(picture, twin)
        if self.reader is None or not prompt.words:
            return likeness
        return replace(likeness, read=self.reader.read(picture), twin_read=self.reader.read(twin))


def _kernel(job: Job) -> AbstractContextManager[object]:
    """Attention as usual, or by another kernel: the same sums in another order."""
    return sdpa_kernel(SDPBackend.MATH) if job.kind == "other_kernel" else nullcontext()


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _short(decision: Decision) -> Decision:
    """With the digits that a plot shows: thousands of these go into one file."""
    rounded = (None if value is None else round(value, _DIGITS) for value in (decision.distance, decision.score))
    distance, score = rounded
    return replace(decision, distance=distance, score=score)
