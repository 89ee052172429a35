"""What lies where in a scene, as labels that a hidden layer of the transformer learns to tell while it trains.

Flow matching alone takes long to find out that a picture consists of things; being asked for them in the middle of the
network shortens that (as REPA does with a vision model's features, Yu et al. 2024, where ours are exact). The head is
dropped after training. Knows scenes and token grids.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from training.scenes import COLOURS, SHAPES, Scene, letter_at, thing_cover, word_cover

POINTS = 4  # label points along each side of a token
_KINDS = len(SHAPES) + 2  # background, the shapes, the word
_COLOUR_NAMES = list(COLOURS)
_LETTERS = 26
_LETTER = 256  # what a letter's number, from 1, is multiplied by


def labels(scene: Scene, rows: int, columns: int) -> np.ndarray:
    """Letter × 256 + kind × 16 + colour at every point, int16 [rows · POINTS, columns · POINTS].

    A letter is told in all of its box, between its strokes too: those are finer than the points.
    """
    height, width = rows * POINTS, columns * POINTS
    field = np.full((height, width), _COLOUR_NAMES.index(scene.background), np.int16)
    for index, thing in enumerate(scene.things):
        inside = thing_cover(scene, index, width, height) > 0.5
        field[inside] = (1 + SHAPES.index(thing.shape)) * 16 + _COLOUR_NAMES.index(thing.colour)
    if scene.word:
        inside = word_cover(scene.word, width, height) > 0.3
        field[inside] = (_KINDS - 1) * 16 + _COLOUR_NAMES.index(scene.word.colour)
        numbers = np.array([ord(letter) - ord("A") + 1 for letter in scene.word.text] + [0], np.int16)
        field += _LETTER * numbers[letter_at(scene.word, width, height)]  # −1, for none, takes the last
    return field


def by_token(field: torch.Tensor) -> torch.Tensor:
    """Labels [B, rows · POINTS, columns · POINTS] to [B, rows · columns, POINTS²]."""
    batch, height, width = field.shape
    patches = field.view(batch, height // POINTS, POINTS, width // POINTS, POINTS).permute(0, 1, 3, 2, 4)
    return patches.reshape(batch, -1, POINTS * POINTS)


def shown(told: torch.Tensor) -> torch.Tensor:
    """Which tokens show something beside background, bool [B, tokens]; `told` as `by_token` returns it."""
    return (told >= 16).any(dim=-1)


class LayoutHead(nn.Module):
    """From hidden states [B, tokens, width] to kind, colour and letter at each point."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kinds = nn.Linear(width, POINTS**2 * _KINDS)
        self.colours = nn.Linear(width, POINTS**2 * len(COLOURS))
        self.letters = nn.Linear(width, POINTS**2 * _LETTERS)

    def loss(self, states: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Mean cross entropy; `told` as `by_token` returns it.

        Points on things and in letters' boxes weigh four times as much in kind and colour; of letters, only they count.
        """
        states = self.norm(states)
        weight = torch.where(told >= 16, 4.0, 1.0)
        places, letters = told % _LETTER, told // _LETTER - 1
        losses = self._entropy(self.kinds, states, places // 16) + self._entropy(self.colours, states, places % 16)
        loss = (losses * weight).sum() / weight.sum()
        worded = (letters >= 0).any(dim=-1)  # the tokens, so that the largest head need not see the others
        if not worded.any():
            return loss
        return loss + self._entropy(self.letters, states[worded], letters[worded])[letters[worded] >= 0].mean()

    def _entropy(self, head: nn.Linear, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """At each point, of the shape of `target`; 0 where that is below 0."""
        guesses = head(states).unflatten(-1, (POINTS**2, -1))
        losses = F.cross_entropy(guesses.flatten(0, -2), target.flatten().long(), reduction="none", ignore_index=-1)
        return losses.view(target.shape)
