"""What lies where in a scene, as labels that a hidden layer of the transformer learns to tell while it trains.

Flow matching alone takes long to find out that a picture consists of things; being asked for them in the middle of the
network shortens that (as REPA does with a vision model's features, Yu et al. 2024, where ours are exact). The head is
dropped after training. Knows scenes and token grids.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from training.scenes import COLOURS, SHAPES, Scene, thing_cover, word_cover

POINTS = 4  # label points along each side of a token
_KINDS = len(SHAPES) + 2  # background, the shapes, the word
_COLOUR_NAMES = list(COLOURS)


def labels(scene: Scene, rows: int, columns: int) -> np.ndarray:
    """Kind × 16 + colour at every point, uint8 [rows · POINTS, columns · POINTS]."""
    height, width = rows * POINTS, columns * POINTS
    field = np.full((height, width), _COLOUR_NAMES.index(scene.background), np.uint8)
    for index, thing in enumerate(scene.things):
        inside = thing_cover(scene, index, width, height) > 0.5
        field[inside] = (1 + SHAPES.index(thing.shape)) * 16 + _COLOUR_NAMES.index(thing.colour)
    if scene.word:
        inside = word_cover(scene.word, width, height) > 0.3
        field[inside] = (_KINDS - 1) * 16 + _COLOUR_NAMES.index(scene.word.colour)
    return field


def by_token(field: torch.Tensor) -> torch.Tensor:
    """Labels [B, rows · POINTS, columns · POINTS] to [B, rows · columns, POINTS²]."""
    batch, height, width = field.shape
    patches = field.view(batch, height // POINTS, POINTS, width // POINTS, POINTS).permute(0, 1, 3, 2, 4)
    return patches.reshape(batch, -1, POINTS * POINTS)


class LayoutHead(nn.Module):
    """From hidden states [B, tokens, width] to kind and colour at each point."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kinds = nn.Linear(width, POINTS**2 * _KINDS)
        self.colours = nn.Linear(width, POINTS**2 * len(COLOURS))

    def loss(self, states: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Mean cross entropy; `told` as `by_token` returns it. Points on things weigh four times as much."""
        states = self.norm(states)
        weight = torch.where(told >= 16, 4.0, 1.0)
        losses = [
            F.cross_entropy(
                head(states).unflatten(-1, (POINTS**2, -1)).flatten(0, 2), target.flatten().long(), reduction="none"
            )
            for head, target in ((self.kinds, told // 16), (self.colours, told % 16))
        ]
        return ((losses[0] + losses[1]) * weight.flatten()).sum() / weight.sum()
