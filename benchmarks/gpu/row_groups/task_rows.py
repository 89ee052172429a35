"""The rows of the GPU benchmark about several tasks at once, through the loop of a server's worker.

All is the server's own, from the jobs to the files: only the models have random weights, and their memory has the
encoding of the prompt already. Knows no queue and no wire format.
"""

import contextlib
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.bench import Bench, Case
from benchmarks.random_models import SEED, TRUE_CFG_SCALE
from benchmarks.runs.budget import Figures, Row
from benchmarks.runs.relative_difference import relative_difference
from benchmarks.runs.synchronize import synchronize
from pipelines.batching import BatchGain, BatchGains
from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.conditioning import prompt_key
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.encoder.prompt_store import EncodedPrompt
from pipelines.models.residency.options import DEFAULT_OPTIONS
from pipelines.render.prepare import NEUTRAL_PROMPT
from pipelines.request import RenderRequest, Sampler
from server.jobs.workers.images.image_writer import ImageWriter
from server.jobs.workers.inbox import Completed
from server.jobs.workers.messages import Failed, ImageWritten, Output, Progress, RenderJob, Reply
from server.jobs.workers.render_loop import RenderLoop
from server.media.encode import Encoding
from server.options.sharing import Sharing

TASKS = 4
WAYS = ALONE, IN_TURNS, IN_ONE_PASS, IN_ONE_BATCH = tuple(
    f"{TASKS} tasks, half the side, 8 steps without guidance, compiled, {how}"
    for how in ("one after the other", "two in turns", "in one pass", "in one batch")
)
PROMPT = "random"
_SECONDS = 6  # of the tasks three times
_GRAPH_SECONDS = 40  # one graph more


def task_rows(bench: Bench, case: Case) -> list[Row]:
    """Some tasks of a case: one after the other, in turns, and together."""
    batched = replace(case, batched=True)
    return [
        Row(ALONE, partial(tasks, bench, case), _SECONDS),
        Row(IN_TURNS, partial(tasks, bench, case, renders=2), _SECONDS),
        Row(IN_ONE_PASS, partial(tasks, bench, case, together=True), _SECONDS),
        Row(IN_ONE_BATCH, partial(tasks, bench, batched, together=True), _GRAPH_SECONDS + _SECONDS),
    ]


def tasks(bench: Bench, case: Case, *, renders: int = 1, together: bool = False) -> Figures:
    """Seconds from the first job to the last file, and how far the latents are from those of each task alone.

    `renders` tasks take turns. `together` has them in one pass, as if a measurement had said that it pays.
    """
    expected = _run(bench, replace(case, batched=False), Sharing(), together=False)
    _run(bench, case, Sharing(renders=renders), together=together)  # warms up
    found = _run(bench, case, Sharing(renders=renders), together=together)
    pairs = zip(found.latents, expected.latents, strict=True)
    return {
        "seconds": round(found.seconds, 4),
        "tasks": TASKS,
        "together": max(image.together for image in found.images),
        "changes_of_task": sum(one != other for one, other in pairwise(found.stepped)),
        "latents_relative_difference": max(relative_difference(*pair) for pair in pairs),
    }


@dataclass(frozen=True)
class _Ended:
    """What came of the tasks. `stepped` is the job of each step."""

    seconds: float
    latents: Sequence[torch.Tensor]
    images: Sequence[ImageWritten]
    stepped: Sequence[int]


class _Models:
    """One model, which has encoded the prompts already."""

    def __init__(self, bench: Bench, case: Case, entry: ModelEntry) -> None:
        models = bench.models()
        blind: Any = nn.Module()  # in place of the encoder, which nothing asks
        checkpoint = replace(bench.checkpoint(models, case), text_encoder=blind)
        self._model = LoadedModel(checkpoint)
        for text, embeds in ((PROMPT, models.prompt()), (NEUTRAL_PROMPT, models.negative_prompt())):
            key = prompt_key(text, None, entry)
            self._model.memory.get("embedding", key, partial(EncodedPrompt, embeds, 0))

    def get(self, entry: ModelEntry) -> LoadedModel:
        """See `Models`."""
        return self._model

    def free_memory(self, *, models: bool) -> None:
        """Do nothing: `bench` frees its models."""


class _Script:
    """Jobs that have all arrived, from a server that then hangs up. Nothing works in the background."""

    def __init__(self, jobs: Sequence[RenderJob]) -> None:
        self._left: deque[Any] = deque(jobs)

    def take(self, *, wait: bool) -> Any:
        """See `Inbox`."""
        if not self._left and wait:
            raise EOFError
        return self._left.popleft() if self._left else None

    def put(self, message: Completed) -> None:
        """See `Inbox`."""
        self._left.append(message)


class _Writer(ImageWriter):
    """Keeps the images, to look at their latents."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.opened: list[Any] = []

    def open(self, *arguments: Any, **options: Any) -> Any:
        """See `ImageWriter`."""
        self.opened.append(super().open(*arguments, **options))
        return self.opened[-1]


def _run(bench: Bench, case: Case, sharing: Sharing, *, together: bool) -> _Ended:
    entry = load_catalog().entries[0]
    scale = TRUE_CFG_SCALE if case.guidance else 1.0
    requests = [
        RenderRequest(entry.air, PROMPT, None, case.side, case.side, case.steps, Sampler(), scale, SEED + number)
        for number in range(TASKS)
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        models = _Models(bench, case, entry)
        writer = _Writer(str(bench.device), Catalog((entry,)), DEFAULT_OPTIONS, models=models)
        stack.callback(writer.close)
        if together:
            gains = [
                BatchGain(entry.air, case.side, case.side, images, 0.0, 0.0, joined=2.0)
                for images in range(2, TASKS + 1)
            ]
            writer.gains = BatchGains(writer.description, str(torch.__version__), tuple(gains))
        jobs = [
            RenderJob(
                number, request, Encoding("PNG", 95), (Output(0, Path(folder) / f"{number}.png"),), owner=str(number)
            )
            for number, request in enumerate(requests)
        ]
        replies: list[Reply] = []
        synchronize(bench.device)
        started = time.perf_counter()
        with contextlib.suppress(EOFError):
            RenderLoop(_Script(jobs), replies.append, writer, sharing).run()
        seconds = time.perf_counter() - started
        if failed := [reply for reply in replies if isinstance(reply, Failed)]:
            raise RuntimeError(f"task {failed[0].job_id}: {failed[0].failure.message}")
        latents = {image.render.state.seed: image.render.state.latents for image in writer.opened}
    return _Ended(
        seconds,
        [latents[request.seed] for request in requests],
        [reply for reply in replies if isinstance(reply, ImageWritten)],
        [reply.job_id for reply in replies if isinstance(reply, Progress)],
    )
