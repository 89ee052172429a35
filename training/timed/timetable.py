"""The timetable of a training by minutes: sizes, tasks and batches, as functions of the finished share of the time.

Pure. Knows tasks and grids; knows no network and no clock.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from training.data.texts import Kind as Texts
from training.samples.drafts import VISION_TOKENS, DraftOrder, Task
from training.trainers.architecture import TOKEN

Grid = tuple[int, int]
Choice = TypeVar("Choice")
_SMALL: dict[Grid, float] = {(8, 8): 0.7, (7, 9): 0.1, (9, 7): 0.1, (6, 10): 0.05, (10, 6): 0.05}
_FULL: dict[Grid, float] = {(16, 16): 0.6, (14, 18): 0.12, (18, 14): 0.12, (12, 20): 0.08, (20, 12): 0.08}
_FULL_TOKENS = 16 * 16
TAIL = 0.75  # from here on the weights are averaged, and the learning rate is low
HOLD = 0.55  # the learning rate is constant up to here
_PROMPT = 64  # tokens of a long prompt


@dataclass(frozen=True, slots=True)
class World:
    """What is trained on: texts, and the side of the largest squares in pixels, 128 or 256.

    The first weights had capitals and 128 pixels. A training too short for more keeps to that.
    """

    texts: Texts = "all"
    side: int = 256

    @property
    def grids(self) -> dict[Grid, float]:
        """The shares of the grids at the end."""
        return _FULL if self.side > 8 * TOKEN else _SMALL


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training, up to a share of its time: the shares of its grids and tasks."""

    until: float
    grids: dict[Grid, float]
    tasks: dict[Task, float]


# Small pictures first: they are learnt four times as fast. Letters come before words.
STAGES = (
    Stage(
        0.15,
        _SMALL,
        {"easy": 0.08, "letters": 0.22, "pairs": 0.12, "words": 0.08, "crowded": 0.25, "edit": 0.22, "combine": 0.03},
    ),
    Stage(0.45, _SMALL, {"letters": 0.08, "pairs": 0.14, "words": 0.2, "crowded": 0.26, "edit": 0.28, "combine": 0.04}),
    Stage(1.0, _FULL, {"letters": 0.03, "pairs": 0.07, "words": 0.26, "crowded": 0.28, "edit": 0.31, "combine": 0.05}),
)


def stage_at(progress: float) -> Stage:
    """Return the stage at a share of the time."""
    return next(stage for stage in STAGES if progress < stage.until or stage.until == 1.0)


def order(number: int, progress: float, seed: int, batch: int, tokens: int, world: World) -> DraftOrder:
    """Return what the batch of a number shall hold: at most `tokens` tokens, and at most `batch` samples of full size.

    Batches of small pictures have as many pixels as those of large ones, so that a step keeps the device as busy.
    """
    stage = stage_at(progress)
    rng = np.random.default_rng([seed, number, 1])
    task = _choose(rng, stage.tasks)
    grid = _choose(rng, world.grids if stage.grids is _FULL else stage.grids)
    most = batch * _FULL_TOKENS // (grid[0] * grid[1])
    return DraftOrder(number, task, grid, max(1, min(most, tokens // sample_tokens(task, grid))), world.texts)


def sample_tokens(task: Task, grid: Grid) -> int:
    """Return how many tokens a sample has at most: its picture, its references and its prompt."""
    pictures = {"edit": 1, "combine": 2}.get(task, 0)
    return grid[0] * grid[1] * (1 + pictures) + VISION_TOKENS * pictures + _PROMPT


def _choose(rng: np.random.Generator, shares: dict[Choice, float]) -> Choice:
    keys = list(shares)
    chances = np.array(list(shares.values()))
    return keys[int(rng.choice(len(keys), p=chances / chances.sum()))]
