"""Drafts of batches: scenes, captions and edits of one task as small arrays, made by worker processes.

A draft depends on the seed and its number alone, so a run that is resumed sees the same samples. Knows scenes and the
tokenizer; knows no device.
"""

import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import Qwen2Tokenizer

from pipelines.catalog.catalog import Mode
from training.data.edits import SINGLE_KINDS, Edit, Kind, random_edit
from training.data.prompts import DEGRADED, drop_some, pick_mode, random_prompt
from training.data.random_scenes import EASY, LITERATE, Level, random_scene
from training.data.scenes import Scene
from training.data.texts import Kind as Texts
from training.samples.scene_arrays import SceneArrays, scene_arrays
from training.trainers.architecture import MERGED, TOKEN, vision_grid
from training.trainers.parallel import start_method
from training.trainers.text import PromptTokens, prompt_tokens

VISION_TOKENS = 4  # of each reference at most: the vision tower sees 56 × 56 pixels
_MULTIPLE = 16  # lengths of prompts are multiples of it, so that few forms are compiled

Task = Literal["easy", "letters", "pairs", "words", "crowded", "edit", "combine"]
_LEVELS: dict[Task, Level] = {
    "easy": EASY,
    "letters": Level((1.0, 0.0, 0.0), 0.9, texts="letters"),
    "pairs": Level((1.0, 0.0, 0.0), 0.9, texts="pairs"),
    "words": Level((0.7, 0.3, 0.0), 0.9, texts="all"),
    "crowded": Level((0.15, 0.45, 0.4), 0.15, texts="all"),
}
_KINDS: tuple[Kind, ...] = ("keep", *SINGLE_KINDS)


@dataclass(frozen=True, slots=True)
class DraftOrder:
    """What a draft shall hold: its number, a task, rows and columns of tokens, how many samples, and which texts.

    With other `texts` than `all`, letters and pairs are texts of that kind too.
    """

    number: int
    task: Task
    grid: tuple[int, int]
    count: int
    texts: Texts = "all"


@dataclass(frozen=True, slots=True)
class Draft:
    """A batch before it is drawn. `sources` has one entry for each reference of a sample. `degraded` is bool [N]."""

    order: DraftOrder
    mode: Mode
    targets: SceneArrays
    sources: tuple[SceneArrays, ...]
    prompts: PromptTokens
    degraded: np.ndarray


def make_draft(order: DraftOrder, seed: int, tokenizer: Qwen2Tokenizer) -> Draft:
    """Draw the samples of an order."""
    rng = np.random.default_rng([seed, order.number])
    samples = [_sample(order, rng) for _ in range(order.count)]
    edits = [sample for sample in samples if isinstance(sample, Edit)]
    degraded = rng.random(order.count) < (0 if edits else DEGRADED)
    texts = [random_prompt(sample, bool(bad), rng) for sample, bad in zip(samples, degraded, strict=True)]
    texts = drop_some(texts, rng)
    pictures = len(edits[0].sources) if edits else 0
    size = order.grid[1] * TOKEN, order.grid[0] * TOKEN
    rows, columns = vision_grid(order.grid)
    mode = pick_mode(pictures, rng)
    return Draft(
        order,
        mode,
        scene_arrays([sample.target if isinstance(sample, Edit) else sample for sample in samples], *size),
        tuple(scene_arrays([edit.sources[number] for edit in edits], *size) for number in range(pictures)),
        prompt_tokens(texts, mode, pictures, rows * columns // MERGED**2, tokenizer, _MULTIPLE),
        degraded,
    )


class DraftWorkers:
    """Processes that make drafts ahead of the training. Without processes, drafts are made when they are taken."""

    def __init__(self, folder: Path, seed: int, processes: int) -> None:
        self._seed, self._processes = seed, processes
        self._tokenizer = Qwen2Tokenizer.from_pretrained(folder, subfolder="tokenizer")
        context: Any = multiprocessing.get_context(start_method(__name__))  # the stubs give it no `Process`
        self._workers, self._pipes = [], []
        for _ in range(processes):
            here, there = context.Pipe()
            worker = context.Process(target=_work, args=(there, folder, seed), daemon=True)
            worker.start()
            there.close()  # else the end of the process would not be noticed
            self._workers.append(worker)
            self._pipes.append(here)

    def drafts(self, orders: Iterator[DraftOrder]) -> Iterator[Draft]:
        """Yield the drafts of orders in their order. Orders are taken two for each process ahead."""
        if not self._processes:
            yield from (make_draft(order, self._seed, self._tokenizer) for order in orders)
            return
        waiting: list[int] = []
        for turn, order in enumerate(orders):
            self._pipes[turn % self._processes].send(order)
            waiting.append(turn % self._processes)
            if len(waiting) >= 2 * self._processes:
                yield self._take(waiting.pop(0))
        while waiting:
            yield self._take(waiting.pop(0))

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.terminate()

    def _take(self, worker: int) -> Draft:
        draft = self._pipes[worker].recv()
        if isinstance(draft, BaseException):
            raise draft
        return draft


def default_processes(device: str) -> int:
    """Return how many processes keep a device busy: none on a CPU, which has no core to spare."""
    return max(1, (os.cpu_count() or 2) - 2) if device == "cuda" else 0


def _work(pipe: Connection, folder: Path, seed: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process for each core
    tokenizer = Qwen2Tokenizer.from_pretrained(folder, subfolder="tokenizer")
    while True:
        order = pipe.recv()
        try:
            pipe.send(make_draft(order, seed, tokenizer))
        except Exception as error:  # noqa: BLE001  # raised again where the draft is taken
            pipe.send(error)


def _sample(order: DraftOrder, rng: np.random.Generator) -> Scene | Edit:
    level = _LEVELS.get(order.task, LITERATE)
    if order.texts != "all":
        level = replace(level, texts=order.texts)
    if order.task == "combine":
        return random_edit(rng, "combine", level)
    if order.task == "edit":
        return random_edit(rng, _KINDS[int(rng.integers(len(_KINDS)))], level)
    return random_scene(rng, level)
