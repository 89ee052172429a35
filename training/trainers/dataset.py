"""The training data: buffers of scenes and edits with encoded pictures.

Captions are new at each use, and samples are replaced over time. Knows the frozen VAE and the frozen vision tower;
knows no transformer.
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
from training.data.edits import SINGLE_KINDS, Edit, Kind, random_edit
from training.data.layout import layout_labels
from training.data.prompts import DEGRADED, random_prompt
from training.data.random_scenes import EASY, HARD, Level, random_scene
from training.data.scenes import Scene, draw_scene
from training.trainers.architecture import TOKEN, WIDTH, image_processor
from training.trainers.vae import degrade, to_pixels

SQUARE = (8, 8)  # rows and columns of tokens: 128 × 128 pixels
TALL_AND_WIDE = ((7, 9), (9, 7), (6, 10), (10, 6))
_BATCH = 16

SINGLE = Level((1.0, 0.0, 0.0), 0.15)
CROWDED = Level((0.15, 0.65, 0.2), 0.4)  # two things and words are learnt last
_KINDS: tuple[Kind, ...] = ("keep", *SINGLE_KINDS)
Task = Literal["easy", "single", "hard", "odd", "edit", "odd edit", "combine"]


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """The samples of a task: scenes of a level, or edits of some kinds in turn. Each grid has `count` of them."""

    source: Level | tuple[Kind, ...]
    count: int
    grids: tuple[tuple[int, int], ...] = (SQUARE,)

    def samples(self, count: int, rng: np.random.Generator) -> list[Scene | Edit]:
        """Draw new samples. If the kinds do not divide `count`, chance decides which kinds have one less."""
        if isinstance(self.source, Level):
            return [random_scene(rng, self.source) for _ in range(count)]
        first = int(rng.integers(len(self.source)))
        return [random_edit(rng, self.source[(first + i) % len(self.source)]) for i in range(count)]


DATA_RECIPES: dict[Task, DataRecipe] = {
    "easy": DataRecipe(EASY, 1200),
    "single": DataRecipe(SINGLE, 2400),
    "hard": DataRecipe(CROWDED, 5000),
    "odd": DataRecipe(HARD, 500, TALL_AND_WIDE),
    "edit": DataRecipe(_KINDS, 4160),
    "odd edit": DataRecipe(_KINDS, 320, TALL_AND_WIDE[2:]),
    "combine": DataRecipe(("combine",), 500),
}


@dataclass(frozen=True, slots=True)
class Buffer:
    """Samples of one task and one grid.

    `latents` [N, tokens, 64] are of the targets, `references` [N, pictures, tokens, 64] of the references, and `vision`
    [N, pictures, 4, width] are the vision tower's tokens of the references. `labels` are the layout labels of the
    targets. `degraded` marks blurred targets.
    """

    grid: tuple[int, int]
    samples: list[Scene | Edit]
    latents: torch.Tensor
    references: torch.Tensor
    vision: torch.Tensor
    labels: torch.Tensor
    degraded: torch.Tensor

    @property
    def pictures(self) -> int:
        """The number of references of each sample."""
        return self.references.shape[1]

    def texts(self, rows: Sequence[int], rng: np.random.Generator) -> list[str]:
        """Make new captions or instructions for some samples."""
        return [random_prompt(self.samples[row], bool(self.degraded[row]), rng) for row in rows]

    def replace(self, rows: Sequence[int], others: "Buffer") -> None:
        """Replace some samples by others of the same task and grid."""
        for row, sample in zip(rows, others.samples, strict=True):
            self.samples[row] = sample
        for name in ("latents", "references", "vision", "labels", "degraded"):
            getattr(self, name)[list(rows)] = getattr(others, name)


class Encoder:
    """Draws samples, encodes their pictures, and makes buffers of them."""

    def __init__(self, vae: SingleFrameVae, encoder: Qwen2_5_VLForConditionalGeneration) -> None:
        self._vae = vae
        self._encoder = encoder

    def build_buffers(self, seed: Sequence[int], share: float = 1.0) -> dict[Task, list[Buffer]]:
        """Make the buffers of every task, one for each grid, with a share of their full size."""
        rng = np.random.default_rng(list(seed))
        return {
            task: [self.make_buffer(recipe, grid, max(1, round(recipe.count * share)), rng) for grid in recipe.grids]
            for task, recipe in DATA_RECIPES.items()
        }

    def make_buffer(self, recipe: DataRecipe, grid: tuple[int, int], count: int, rng: np.random.Generator) -> Buffer:
        """Make a buffer of new samples."""
        return _encode_samples(recipe.samples(count, rng), grid, self._vae, self._encoder, rng)


def load_or_build_buffers(path: Path, encoder: Encoder, seed: Sequence[int], share: float) -> dict[Task, list[Buffer]]:
    """Return the buffers of `Encoder.build_buffers`, cached in a file between runs."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        torch.save(encoder.build_buffers(seed, share), draft)
        draft.replace(path)
    return torch.load(path, weights_only=False)  # our own file, of this very run


@torch.inference_mode()
def _encode_samples(
    samples: list[Scene | Edit],
    grid: tuple[int, int],
    vae: SingleFrameVae,
    encoder: Qwen2_5_VLForConditionalGeneration,
    rng: np.random.Generator,
) -> Buffer:
    targets = [sample.target if isinstance(sample, Edit) else sample for sample in samples]
    sources = [list(sample.sources) if isinstance(sample, Edit) else [] for sample in samples]
    degraded = [not source and rng.random() < DEGRADED for source in sources]
    pictures = (
        _draw_degraded(scene, grid, rng) if bad else draw_grid(scene, grid)
        for scene, bad in zip(targets, degraded, strict=True)
    )
    latents = encode_latents(pictures, vae)
    if not sources[0]:
        references = torch.empty(len(samples), 0, *latents.shape[1:], dtype=latents.dtype)
        vision = torch.empty(len(samples), 0, 0, WIDTH)
    else:
        shown = [draw_grid(scene, grid) for source in sources for scene in source]
        references = encode_latents(shown, vae).unflatten(0, (len(samples), -1))
        vision = encode_vision(shown, encoder).unflatten(0, (len(samples), -1))
    return Buffer(
        grid,
        samples,
        latents.clone(),
        references.clone(),
        vision.clone(),
        torch.from_numpy(np.stack([layout_labels(scene, *grid) for scene in targets])),
        torch.tensor(degraded),
    )


def draw_grid(scene: Scene, grid: tuple[int, int]) -> np.ndarray:
    """Draw a scene for a grid of tokens, uint8 [height, width, 3]."""
    return draw_scene(scene, grid[1] * TOKEN, grid[0] * TOKEN)


def _draw_degraded(scene: Scene, grid: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return degrade(draw_grid(scene, grid), rng)


def encode_latents(pictures: Iterator[np.ndarray] | list[np.ndarray], vae: SingleFrameVae) -> torch.Tensor:
    """Encode pictures to packed, normalised latents [N, tokens, 64] in float16, far more precise than the VAE."""
    encoded, waiting = [], []
    device = vae.quant_conv.conv.weight.device
    for picture in pictures:
        waiting.append(to_pixels(picture))
        if len(waiting) == _BATCH:
            encoded.append(encode_pixels(vae, torch.stack(waiting).to(device)).half().cpu())
            waiting = []
    if waiting:
        encoded.append(encode_pixels(vae, torch.stack(waiting).to(device)).half().cpu())
    return torch.cat(encoded)


def encode_vision(pictures: list[np.ndarray], encoder: Qwen2_5_VLForConditionalGeneration) -> torch.Tensor:
    """Encode pictures of one size to the vision tower's tokens [N, tokens, width]."""
    processor, features = image_processor(), []
    for start in range(0, len(pictures), 64):
        images = [Image.fromarray(picture) for picture in pictures[start : start + 64]]
        inputs = processor(images=images, return_tensors="pt").to(encoder.device)
        found = cast("Any", encoder.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"]))
        features.append(torch.stack(list(found.pooler_output)).cpu())
    return torch.cat(features)
