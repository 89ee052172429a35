"""An auxiliary task: a hidden layer of the transformer learns to predict the layout of the scene.

Flow matching alone takes long to learn that a picture consists of things. Predicting the layout in the middle of the
network shortens that. REPA (Yu et al. 2024) does the same with the features of a vision model; here the labels are
exact. The head is dropped after training. Knows scenes and token grids.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from training.data.pixel_font import GLYPHS
from training.data.scenes import COLOURS, SHAPES, Scene, letter_at, thing_cover, word_cover

POINTS = 4  # label points along each side of a token
_KINDS = len(SHAPES) + 2  # background, the shapes, the word
_COLOUR_NAMES = list(COLOURS)
_LETTERS = len(GLYPHS)
LETTER = 256  # the factor of a letter's number, which counts from 1


def layout_labels(scene: Scene, rows: int, columns: int) -> np.ndarray:
    """Return letter × 256 + kind × 16 + colour at every point, int16 [rows · POINTS, columns · POINTS].

    All points in the box of a letter have its number, because its strokes are finer than the points.
    """
    height, width = rows * POINTS, columns * POINTS
    field = np.full((height, width), _COLOUR_NAMES.index(scene.background), np.int16)
    for index, thing in enumerate(scene.things):
        inside = thing_cover(scene, index, width, height) > 0.5
        field[inside] = (1 + SHAPES.index(thing.shape)) * 16 + _COLOUR_NAMES.index(thing.colour)
    if scene.word:
        inside = word_cover(scene.word, width, height) > 0.3
        field[inside] = (_KINDS - 1) * 16 + _COLOUR_NAMES.index(scene.word.colour)
        numbers = np.array([GLYPHS.index(letter) + 1 for letter in scene.word.text] + [0], np.int16)
        field += LETTER * numbers[letter_at(scene.word, width, height)]  # −1, for no letter, takes the last
    return field


def group_by_token(field: torch.Tensor) -> torch.Tensor:
    """Reshape labels [B, rows · POINTS, columns · POINTS] to [B, rows · columns, POINTS²]."""
    batch, height, width = field.shape
    patches = field.view(batch, height // POINTS, POINTS, width // POINTS, POINTS).permute(0, 1, 3, 2, 4)
    return patches.reshape(batch, -1, POINTS * POINTS)


def foreground_tokens(labels: torch.Tensor) -> torch.Tensor:
    """Return the mask of tokens that show more than background, bool [B, tokens]. Takes labels grouped by token."""
    return (labels >= 16).any(dim=-1)


class LayoutHead(nn.Module):
    """Predicts kind, colour and letter at each point from hidden states [B, tokens, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kinds = nn.Linear(width, POINTS**2 * _KINDS)
        self.colours = nn.Linear(width, POINTS**2 * len(COLOURS))
        self.letters = nn.Linear(width, POINTS**2 * _LETTERS)

    def loss(self, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean cross entropy. Takes labels grouped by token.

        Points on things and in boxes of letters have four times the weight for kind and colour. For letters, only
        points in boxes count.
        """
        states = self.norm(states)
        weight = torch.where(labels >= 16, 4.0, 1.0)
        places, letters = labels % LETTER, labels // LETTER - 1
        losses = self._entropy(self.kinds, states, places // 16) + self._entropy(self.colours, states, places % 16)
        loss = (losses * weight).sum() / weight.sum()
        worded = (letters >= 0).any(dim=-1)  # tokens: the largest head skips the others
        if not worded.any():
            return loss
        return loss + self._entropy(self.letters, states[worded], letters[worded])[letters[worded] >= 0].mean()

    def _entropy(self, head: nn.Linear, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The cross entropy at each point, 0 where `target` is negative."""
        guesses = head(states).unflatten(-1, (POINTS**2, -1))
        losses = F.cross_entropy(guesses.flatten(0, -2), target.flatten().long(), reduction="none", ignore_index=-1)
        return losses.view(target.shape)
