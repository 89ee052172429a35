"""Measures whether images are faster together than one after the other, and whether their latents then differ.

The images of one task are at the same step. Those of several tasks are at steps of their own, so both are measured.
The two branches of guidance of one image are measured likewise.
Knows loaded models and the clock; knows no command and no file.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from benchmarks.runs.relative_difference import relative_difference
from benchmarks.runs.synchronize import synchronize
from pipelines.batching import BatchGain, BranchGain
from pipelines.catalog.catalog import REFERENCES, ModelEntry
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.running.device_setting import device_setting
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, evaluate_next
from pipelines.request import Reference, RenderRequest, Sampler

PROMPT = "a red circle on a white background"
Step = Callable[[Sequence[RenderState]], None]  # of all images


def measure_gains(
    entry: ModelEntry,
    model: LoadedModel,
    sizes: Sequence[tuple[int, int]],
    counts: Sequence[int],
    steps: int,
    rounds: int,
) -> Iterator[BatchGain]:
    """Measure each size with each number of images, all ways by turns.

    The fastest of `rounds` counts. A model that edits gets as many references as it needs. Raises `RenderError`.
    """
    for request in _requests(entry, sizes, steps):
        for images in counts:
            yield _measure(entry, model, request, images, rounds)


def measure_branches(
    entry: ModelEntry, model: LoadedModel, sizes: Sequence[tuple[int, int]], steps: int, rounds: int
) -> Iterator[BranchGain]:
    """Measure both branches of guidance as one batch at each size, against one after the other by turns.

    Nothing is measured of a model without guidance. Raises `RenderError`.
    """
    if entry.true_cfg_scale <= 1:
        return
    # Whatever the model was loaded with, each state says how its branches run.
    model = replace(model, checkpoint=replace(model.checkpoint, batch_branches=False))
    for request in _requests(entry, sizes, steps):
        yield _measure_branches(entry, model, request, rounds)


def _requests(entry: ModelEntry, sizes: Sequence[tuple[int, int]], steps: int) -> Iterator[RenderRequest]:
    """A request of each size, whose pictures exist until the next one."""
    with TemporaryDirectory() as folder:
        for width, height in sizes:
            references = _references(entry, width, height, Path(folder))
            sampler, scale = Sampler(), entry.true_cfg_scale
            yield RenderRequest(
                entry.air, PROMPT, None, width, height, steps, sampler, scale, seed=0, references=references
            )


def _references(entry: ModelEntry, width: int, height: int, folder: Path) -> tuple[Reference, ...]:
    """The references that a model needs at least, of the size of the image."""
    path = folder / f"{width}x{height}.png"
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(path)
    return (Reference(path, "", width, height),) * REFERENCES[entry.mode][0]


def _measure(entry: ModelEntry, model: LoadedModel, request: RenderRequest, images: int, rounds: int) -> BatchGain:
    longer = replace(request, steps=request.steps + images - 1)

    def run(step: Step, *, apart: bool) -> tuple[float, list[torch.Tensor]]:
        states = [prepare(longer, index, model, entry) for index in range(images)]
        for ahead, state in enumerate(states if apart else ()):
            for _ in range(ahead):
                advance([state])
        return _time_steps(states, step, request.steps)

    ways = [(step, apart) for apart in (False, True) for step in (advance, _together)]
    with device_setting(model.checkpoint):
        for apart in (False, True):  # all ways warm up
            run(_together, apart=apart)
        all_rounds = [[run(step, apart=apart) for step, apart in ways] for _ in range(rounds)]
    alone, together, alone_apart, joined = (min(seconds for seconds, _ in way) for way in zip(*all_rounds, strict=True))
    latents = [each for _, each in all_rounds[0]]
    pairs = (*zip(*latents[:2], strict=True), *zip(*latents[2:], strict=True))
    return BatchGain(
        entry.air,
        request.width,
        request.height,
        images,
        round(alone / together, 4),
        max(relative_difference(found, expected) for expected, found in pairs),
        round(alone_apart / joined, 4),
        len(request.references),
    )


def _measure_branches(entry: ModelEntry, model: LoadedModel, request: RenderRequest, rounds: int) -> BranchGain:
    def run(*, batched: bool) -> tuple[float, list[torch.Tensor]]:
        state = prepare(request, 0, model, entry)
        state.batch_branches = batched
        return _time_steps([state], advance, request.steps)

    with device_setting(model.checkpoint):
        for batched in (False, True):  # both ways warm up
            run(batched=batched)
        all_rounds = [[run(batched=batched) for batched in (False, True)] for _ in range(rounds)]
    alone, together = (min(seconds for seconds, _ in way) for way in zip(*all_rounds, strict=True))
    (_, (expected,)), (_, (found,)) = all_rounds[0]
    return BranchGain(
        entry.air,
        request.width,
        request.height,
        round(alone / together, 4),
        relative_difference(found, expected),
        len(request.references),
    )


def _time_steps(states: Sequence[RenderState], step: Step, steps: int) -> tuple[float, list[torch.Tensor]]:
    """The seconds of some steps, and the latents after them."""
    device = states[0].checkpoint.device
    synchronize(device)
    started = time.perf_counter()
    for _ in range(steps):
        step(states)
    synchronize(device)
    return time.perf_counter() - started, [state.latents for state in states]


def _together(states: Sequence[RenderState]) -> None:
    evaluate_next(states)
    advance(states)
