"""Scores an embedded checkpoint on held-out prompts and edits, by measuring its pictures.

    python -m training.scores.evaluate [--weights build/embedded] [--count 64] [--out scores.json]

Renders through the server's own loop, so the scores are those of the served pictures. Knows scenes and the loop; knows
no training.
"""

import math
import tempfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from pipelines.catalog.catalog import Mode, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.generate import generate
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.request import ControlUse, LoraUse, Reference, RenderRequest, Sampler
from training.data.captions import Language, exact_caption
from training.data.edits import KINDS, Edit, Kind, random_edit
from training.data.random_scenes import HARD, Level, random_scene
from training.data.scenes import Scene, Thing, draw_scene
from training.data.texts import choices
from training.scores.measure import (
    Detection,
    detect_background,
    detect_things,
    matches_scene,
    matches_thing,
    read_word,
    shape_iou,
)
from training.scores.scoring import Scoring
from training.trainers.vae import psnr

ONE_THING = Level((1.0, 0.0, 0.0), 0.0)
TWO_THINGS = Level((0.0, 1.0, 0.0), 0.0)
ONE_WORD = Level((1.0, 0.0, 0.0), 1.0)
BLURRY = "blurry, low quality"
_SIDE = 256
_STEPS, _TRUE_CFG_SCALE = 20, 4.0
SEED = 20_000  # of the held-out scenes; the seeds of the renders count up from here


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """The options of a render: steps, true CFG scale (1 is no guidance), size in pixels, language of the prompt."""

    steps: int = _STEPS
    true_cfg_scale: float = _TRUE_CFG_SCALE
    width: int = _SIDE
    height: int = _SIDE
    language: Language = "en"
    sampler: Sampler = field(default_factory=Sampler)


class Renderer:
    """Renders captions of scenes and instructions of edits with one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, area: int | None = None) -> None:
        """Take the pixels of the images that it was trained on, if they are not those of the embedded checkpoint."""
        self.checkpoint = checkpoint
        self._model = LoadedModel(checkpoint)
        entries = load_catalog().with_embedded_weights().entries
        areas = dict.fromkeys(("native_area", "reference_area", "condition_area"), area)
        self._entries = {entry.mode: replace(entry, **areas) if area else entry for entry in entries}

    def render(
        self,
        prompt: str,
        seed: int,
        options: RenderOptions,
        negative: str | None = None,
        loras: tuple[LoraUse, ...] = (),
        controls: tuple[ControlUse, ...] = (),
    ) -> np.ndarray:
        """Render text to image, uint8 [H, W, 3]."""
        return self._generate("text_to_image", prompt, seed, options, (), negative, loras, controls)

    def edit(self, edit: Edit, seed: int, options: RenderOptions) -> np.ndarray:
        """Edit the drawn sources by the first English phrasing, uint8 [H, W, 3]."""
        with tempfile.TemporaryDirectory() as folder:
            references = []
            for number, scene in enumerate(edit.sources):
                path = Path(folder) / f"{number}.png"
                Image.fromarray(draw_scene(scene, options.width, options.height)).save(path)
                references.append(Reference(path, "", options.width, options.height))
            mode: Mode = "edit" if len(references) == 1 else "edit_plus"
            return self._generate(mode, edit.english[0], seed, options, tuple(references), None)

    def _generate(
        self,
        mode: Mode,
        prompt: str,
        seed: int,
        options: RenderOptions,
        references: tuple[Reference, ...],
        negative: str | None,
        loras: tuple[LoraUse, ...] = (),
        controls: tuple[ControlUse, ...] = (),
    ) -> np.ndarray:
        entry: ModelEntry = self._entries[mode]
        request = RenderRequest(
            entry.air,
            prompt,
            negative,
            options.width,
            options.height,
            options.steps,
            options.sampler,
            options.true_cfg_scale,
            seed,
            1,
            references,
            loras=loras,
            controls=controls,
        )
        return np.asarray(generate(request, 0, self._model, entry, lambda step, total: None).image)


def score_single(renderer: Renderer, count: int, options: RenderOptions) -> dict[str, float]:
    """Score one thing: the shares of pictures with the right background, count, colour, shape, place and size."""
    scores: dict[str, list[bool]] = {}
    for seed, scene in held_out_scenes(ONE_THING, count):
        picture = renderer.render(exact_caption(scene, options.language), seed, options)
        found, (asked,) = detect_things(picture), scene.things
        largest = found[0] if found else None
        _record(scores, "background", detect_background(picture) == scene.background)
        _record(scores, "one object", len(found) == 1)
        for name in ("colour", "shape", "place", "size"):
            _record(scores, name, largest is not None and getattr(largest, name) == getattr(asked, name))
    return _means(scores)


def score_several(
    renderer: Renderer, count: int, options: RenderOptions, level: Level = TWO_THINGS
) -> dict[str, float]:
    """Score several things: the share of pictures with all attributes right, and of things with theirs right."""
    scores: dict[str, list[bool]] = {}
    for seed, scene in held_out_scenes(level, count):
        picture = renderer.render(exact_caption(scene, options.language), seed, options)
        found = detect_things(picture)
        _record(scores, "all attributes", matches_scene(picture, scene))
        _record(scores, "count", len(found) == len(scene.things))
        for asked in scene.things:
            _record(scores, "each thing", any(matches_thing(detection, asked) for detection in found))
            _record(scores, "each colour at its place", any(_coloured(detection, asked) for detection in found))
    return _means(scores)


def score_words(renderer: Renderer, count: int, options: RenderOptions, level: Level = ONE_WORD) -> dict[str, float]:
    """Score a word: the share of pictures in which it can be read."""
    scores: dict[str, list[bool]] = {}
    for seed, scene in held_out_scenes(level, count):
        word = scene.word
        assert word is not None
        picture = renderer.render(exact_caption(scene, options.language), seed, options)
        found = read_word(picture, word.place, word.colour, choices(word.text, level.texts))
        _record(scores, "word", found == word.text)
    return _means(scores)


def score_edges(renderer: Renderer, count: int, options: RenderOptions) -> dict[str, float]:
    """Score the edges of one thing: the mean IoU of what is shown with the ideal shape."""
    found = [
        shape_iou(renderer.render(exact_caption(scene, options.language), seed, options), scene.things[0])
        for seed, scene in held_out_scenes(ONE_THING, count)
    ]
    return {"mean IoU": round(sum(found) / len(found), 3)}


def score_edits(
    renderer: Renderer, count: int, options: RenderOptions, kinds: Iterable[Kind] = KINDS, level: Level = HARD
) -> dict[str, float]:
    """Score edits: the share of pictures that show the target, by kind, and the PSNR of the unchanged part in dB."""
    scores: dict[str, list[bool]] = {}
    kept: list[float] = []
    for kind in kinds:
        for seed, edit in _held_out_edits(kind, count, level):
            picture = renderer.edit(edit, seed, options)
            done = matches_scene(picture, edit.target, level.texts)
            _record(scores, "followed", done)
            _record(scores, kind, done)
            kept.append(unchanged_psnr(picture, edit))
    return {**_means(scores), "untouched dB": round(sum(kept) / len(kept), 1)}


def score_negative(renderer: Renderer, count: int, options: RenderOptions) -> dict[str, float]:
    """Score the negative prompt "blurry": the ratio of sharpness with and without, on plain and blurry prompts."""
    ratios: dict[str, list[float]] = {}
    for seed, scene in held_out_scenes(ONE_THING, count):
        plain = exact_caption(scene)
        for name, prompt in (("of plain prompts", plain), ("of blurry prompts", f"{plain}, {BLURRY}")):
            before, after = (renderer.render(prompt, seed, options, negative) for negative in (None, BLURRY))
            ratios.setdefault(name, []).append(math.log(sharpness(after) / sharpness(before)))
    return {name: round(math.exp(sum(logs) / len(logs)), 2) for name, logs in ratios.items()}


def sharpness(picture: np.ndarray) -> float:
    """Return the inverse width of edges in pixels, at most 0.5. Length and contrast of the edges do not matter.

    Across an edge of contrast C and width w, the gradient is C / w. Weighted by itself, it ignores flat parts.
    """
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)) / 8
    contrast = float(gray.max() - gray.min())
    return max(1e-3, float(np.square(slope).sum() / max(1e-9, slope.sum())) / max(1.0, contrast))


def unchanged_psnr(picture: np.ndarray, edit: Edit) -> float:
    """Return the PSNR in dB against the source outside the change, at least two pixels in 256 away from it."""
    height, width = picture.shape[:2]
    source, target = draw_scene(edit.sources[0], width, height), draw_scene(edit.target, width, height)
    changed = (source != target).any(axis=2).astype(np.uint8)
    reach = 2 * max(1, round(2 * min(width, height) / 256)) + 1
    same = cv2.dilate(changed, np.ones((reach, reach), np.uint8)) == 0
    if not same.any():
        return 99.0
    error = np.square(picture[same].astype(np.float32) - source[same]).mean()
    return min(99.0, 10 * math.log10(255**2 / max(float(error), 1e-9)))


def held_out_scenes(level: Level, count: int) -> Iterable[tuple[int, Scene]]:
    """Yield seeds and scenes that were never trained on."""
    things = (round(100 * share) for share in level.things)
    texts = [] if level.texts == "capitals" else [zlib.crc32(level.texts.encode())]
    rng = np.random.default_rng([SEED, *things, round(100 * level.words), *texts])
    for number in tqdm(range(count), leave=False):
        yield SEED + number, random_scene(rng, level, of_held_out=True)


def _held_out_edits(kind: Kind, count: int, level: Level) -> Iterable[tuple[int, Edit]]:
    rng = np.random.default_rng([SEED, KINDS.index(kind)])
    for number in tqdm(range(count), desc=kind, leave=False):
        yield SEED + number, random_edit(rng, kind, level, of_held_out=True)


def _coloured(detection: Detection, asked: Thing) -> bool:
    return (detection.colour, detection.place) == (asked.colour, asked.place)


def _record(scores: dict[str, list[bool]], name: str, right: bool) -> None:
    scores.setdefault(name, []).append(right)


def _means(scores: dict[str, list[bool]]) -> dict[str, float]:
    return {name: round(sum(rights) / len(rights), 3) for name, rights in scores.items()}


def evaluate(renderer: Renderer, count: int) -> dict[str, dict[str, float]]:
    """Return all scores, by task and options."""
    default = RenderOptions()
    few = max(4, count // 4)
    found: dict[str, dict[str, float]] = {
        "VAE, dB": {f"{side} px": round(psnr(renderer.checkpoint.vae, side), 1) for side in (128, 256)},
        "one thing": score_single(renderer, count, default),
        "two things": score_several(renderer, count, default),
        "word": score_words(renderer, count, default),
        "edits": score_edits(renderer, max(2, count // 8), default),
        "negative prompt": score_negative(renderer, few, default),
    }
    variations: Sequence[tuple[str, RenderOptions]] = (
        ("in Chinese", replace(default, language="zh")),
        ("without guidance", replace(default, true_cfg_scale=1.0)),
        ("8 steps", replace(default, steps=8)),
        ("28 steps", replace(default, steps=28)),
        ("128 px", replace(default, width=128, height=128)),
        ("512 px", replace(default, width=512, height=512)),
        ("1024 × 768 px", replace(default, width=1024, height=768)),
    )
    score: Callable[[Renderer, int, RenderOptions], dict[str, float]] = score_single
    return found | {f"one thing, {name}": score(renderer, few, options) for name, options in variations}


def main() -> None:
    """Score, print and save."""
    scoring = Scoring.parse(__doc__)
    scoring.save_scores(evaluate(Renderer(scoring.load(), scoring.area), scoring.count))


if __name__ == "__main__":
    main()
