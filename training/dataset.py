"""Scenes and edits with their pictures encoded: captions are drawn anew at each use, samples are replaced over time.

Knows the VAE and the vision tower, frozen; knows no transformer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from accel.weights.single_frame import SingleFrameVae
from pipelines.latents import encode_pixels
from training.architecture import WIDTH, image_processor
from training.captions import caption, with_low_quality
from training.edits import KINDS, Edit, Kind, random_edit
from training.layout import labels
from training.sampling import EASY, HARD, Level, random_scene
from training.scenes import Scene, draw
from training.vae import degrade, to_pixels

TOKEN = 16  # pixels along each side of a token
SQUARE = (8, 8)  # rows and columns of tokens: 128 × 128 pixels
TALL_AND_WIDE = ((7, 9), (9, 7), (6, 10), (10, 6))
_DEGRADED = 0.12  # at 0.05, "blurry" as a negative prompt changed nothing after 400,000 samples
_AT_ONCE = 16

SINGLE = Level((1.0, 0.0, 0.0), 0.15)
CROWDED = Level((0.15, 0.65, 0.2), 0.3)  # two things and words are the last to be learnt
_KINDS: tuple[Kind, ...] = ("keep", *(kind for kind in KINDS if kind != "combine"))
Task = Literal["easy", "single", "hard", "odd", "edit", "odd edit", "combine"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the samples of a task are: scenes of a level, or edits of some kinds in turn; `count` of them a grid."""

    source: Level | tuple[Kind, ...]
    count: int
    grids: tuple[tuple[int, int], ...] = (SQUARE,)

    def samples(self, count: int, rng: np.random.Generator) -> list[Scene | Edit]:
        """New ones. A number of edits that their kinds do not divide leaves it to chance which kinds come short."""
        if isinstance(self.source, Level):
            return [random_scene(rng, self.source) for _ in range(count)]
        first = int(rng.integers(len(self.source)))
        return [random_edit(rng, self.source[(first + i) % len(self.source)]) for i in range(count)]


RECIPES: dict[Task, Recipe] = {
    "easy": Recipe(EASY, 1200),
    "single": Recipe(SINGLE, 2400),
    "hard": Recipe(CROWDED, 5000),
    "odd": Recipe(HARD, 500, TALL_AND_WIDE),
    "edit": Recipe(_KINDS, 4160),
    "odd edit": Recipe(_KINDS, 320, TALL_AND_WIDE[2:]),
    "combine": Recipe(("combine",), 500),
}


@dataclass(frozen=True, slots=True)
class Pool:
    """Samples of one kind and one grid.

    `latents` [N, tokens, 64] of the targets, `references` [N, pictures, tokens, 64], `seen` [N, pictures, 4, width] as
    the vision tower sees the references, `labels` of the targets; `degraded` marks blurred targets.
    """

    grid: tuple[int, int]
    samples: list[Scene | Edit]
    latents: torch.Tensor
    references: torch.Tensor
    seen: torch.Tensor
    labels: torch.Tensor
    degraded: torch.Tensor

    @property
    def pictures(self) -> int:
        """How many references each sample has."""
        return self.references.shape[1]

    def texts(self, rows: Sequence[int], rng: np.random.Generator) -> list[str]:
        """New captions or instructions for some of the samples."""
        return [_text(self.samples[row], bool(self.degraded[row]), rng) for row in rows]

    def replace(self, rows: Sequence[int], others: "Pool") -> None:
        """Put other samples of the same kind and grid in the place of some."""
        for row, sample in zip(rows, others.samples, strict=True):
            self.samples[row] = sample
        for name in ("latents", "references", "seen", "labels", "degraded"):
            getattr(self, name)[list(rows)] = getattr(others, name)


class Encoder:
    """Makes pools: draws samples and encodes their pictures."""

    def __init__(self, vae: SingleFrameVae, encoder: Qwen2_5_VLForConditionalGeneration) -> None:
        self._vae = vae
        self._encoder = encoder

    def build(self, seed: Sequence[int], share: float = 1.0) -> dict[Task, list[Pool]]:
        """The pools of every task, one a grid, or a share of each."""
        rng = np.random.default_rng(list(seed))
        return {
            task: [self.pool(recipe, grid, max(1, round(recipe.count * share)), rng) for grid in recipe.grids]
            for task, recipe in RECIPES.items()
        }

    def pool(self, recipe: Recipe, grid: tuple[int, int], count: int, rng: np.random.Generator) -> Pool:
        """New samples of a recipe."""
        return _encode(recipe.samples(count, rng), grid, self._vae, self._encoder, rng)


def cached_pools(path: Path, encoder: Encoder, seed: Sequence[int], share: float) -> dict[Task, list[Pool]]:
    """As `Encoder.build` makes them, kept in a file between runs."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        torch.save(encoder.build(seed, share), draft)
        draft.replace(path)
    return torch.load(path, weights_only=False)  # our own file, of this very run


def _text(sample: Scene | Edit, degraded: bool, rng: np.random.Generator) -> str:
    if isinstance(sample, Edit):
        return sample.instruction(rng)
    text = caption(sample, rng)
    return with_low_quality(text, rng) if degraded else text


@torch.inference_mode()
def _encode(
    samples: list[Scene | Edit],
    grid: tuple[int, int],
    vae: SingleFrameVae,
    encoder: Qwen2_5_VLForConditionalGeneration,
    rng: np.random.Generator,
) -> Pool:
    targets = [sample.target if isinstance(sample, Edit) else sample for sample in samples]
    sources = [list(sample.sources) if isinstance(sample, Edit) else [] for sample in samples]
    degraded = [not source and rng.random() < _DEGRADED for source in sources]
    pictures = (
        _blurred(scene, grid, rng) if bad else drawn(scene, grid) for scene, bad in zip(targets, degraded, strict=True)
    )
    latents = latents_of(pictures, vae)
    if not sources[0]:
        references = torch.empty(len(samples), 0, *latents.shape[1:], dtype=latents.dtype)
        seen = torch.empty(len(samples), 0, 0, WIDTH)
    else:
        shown = [drawn(scene, grid) for source in sources for scene in source]
        references = latents_of(shown, vae).unflatten(0, (len(samples), -1))
        seen = seen_by_the_tower(shown, encoder).unflatten(0, (len(samples), -1))
    return Pool(
        grid,
        samples,
        latents.clone(),
        references.clone(),
        seen.clone(),
        torch.from_numpy(np.stack([labels(scene, *grid) for scene in targets])),
        torch.tensor(degraded),
    )


def drawn(scene: Scene, grid: tuple[int, int]) -> np.ndarray:
    """A scene's picture for a grid of tokens, uint8 [height, width, 3]."""
    return draw(scene, grid[1] * TOKEN, grid[0] * TOKEN)


def _blurred(scene: Scene, grid: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return degrade(drawn(scene, grid), rng)


def latents_of(pictures: Iterator[np.ndarray] | list[np.ndarray], vae: SingleFrameVae) -> torch.Tensor:
    """Packed, normalised latents [N, tokens, 64] in float16: half the memory, and far finer than the VAE."""
    encoded, waiting = [], []
    device = vae.quant_conv.conv.weight.device
    for picture in pictures:
        waiting.append(to_pixels(picture))
        if len(waiting) == _AT_ONCE:
            encoded.append(encode_pixels(vae, torch.stack(waiting).to(device)).half().cpu())
            waiting = []
    if waiting:
        encoded.append(encode_pixels(vae, torch.stack(waiting).to(device)).half().cpu())
    return torch.cat(encoded)


def seen_by_the_tower(pictures: list[np.ndarray], encoder: Qwen2_5_VLForConditionalGeneration) -> torch.Tensor:
    """The vision tower's tokens of pictures of one size, [N, tokens, width]."""
    processor, features = image_processor(), []
    for start in range(0, len(pictures), 64):
        images = [Image.fromarray(picture) for picture in pictures[start : start + 64]]
        inputs = processor(images=images, return_tensors="pt").to(encoder.device)
        found = cast("Any", encoder.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"]))
        features.append(torch.stack(list(found.pooler_output)).cpu())
    return torch.cat(features)
