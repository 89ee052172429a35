"""Measures whether images of one task are faster together than one after the other, and whether their latents differ.

Knows loaded models and the clock; knows no command and no file.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import torch

from benchmarks.runs.synchronize import synchronize
from pipelines.batching import BatchGain
from pipelines.catalog.catalog import ModelEntry
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.running.device_setting import device_setting
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, evaluate_next
from pipelines.request import RenderRequest, Sampler

PROMPT = "a red circle on a white background"


def measure_gains(
    entry: ModelEntry,
    model: LoadedModel,
    sizes: Sequence[tuple[int, int]],
    counts: Sequence[int],
    steps: int,
    rounds: int,
) -> Iterator[BatchGain]:
    """Measure each size with each number of images, both ways by turns.

    The fastest of `rounds` counts. Raises `RenderError`.
    """
    for width, height in sizes:
        sampler, scale = Sampler(), entry.true_cfg_scale
        request = RenderRequest(entry.air, PROMPT, None, width, height, steps, sampler, scale, seed=0)
        for images in counts:
            yield _measure(entry, model, request, images, rounds)


def _measure(entry: ModelEntry, model: LoadedModel, request: RenderRequest, images: int, rounds: int) -> BatchGain:
    def run(step: Callable[[Sequence[RenderState]], None]) -> tuple[float, list[torch.Tensor]]:
        states = [prepare(request, index, model, entry) for index in range(images)]
        synchronize(model.checkpoint.device)
        started = time.perf_counter()
        while states[0].step < states[0].total:
            step(states)
        synchronize(model.checkpoint.device)
        return time.perf_counter() - started, [state.latents for state in states]

    with device_setting(model.checkpoint):
        run(_together)  # both ways warm up
        both = [(run(advance), run(_together)) for _ in range(rounds)]
    alone, together = (min(seconds for seconds, _ in way) for way in zip(*both, strict=True))
    (_, expected), (_, found) = both[0]
    difference = max(_difference(*pair) for pair in zip(expected, found, strict=True))
    return BatchGain(entry.air, request.width, request.height, images, round(alone / together, 4), difference)


def _together(states: Sequence[RenderState]) -> None:
    evaluate_next(states)
    advance(states)


def _difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    """How far two latents differ, relative to the norm of the first ones. 0 if no bit differs."""
    if torch.equal(expected, found):
        return 0.0
    return float((expected.float() - found.float()).norm() / expected.float().norm())
