"""Scores of an embedded checkpoint on held-out prompts and edits, read by a program from what it draws.

    python -m training.evaluate [--weights build/embedded] [--count 64] [--out scores.json] [--sheet sheet.png]

Renders through the server's own loop, so what is scored is what is served. Knows scenes and the loop; knows no
training.
"""

import math
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from pipelines.catalog.catalog import Mode, ModelEntry, load_catalog
from pipelines.generate import generate as render
from pipelines.models.loader import Checkpoint
from pipelines.request import ControlUse, LoraUse, Reference, RenderRequest, Sampler
from training.captions import Language, exact_caption
from training.edits import KINDS, Edit, Kind, random_edit
from training.reading import Seen, background_of, matches, shows, things_in, word_in
from training.sampling import HARD, Level, random_scene
from training.scenes import Scene, Thing, draw
from training.scoring import Scoring
from training.vae import psnr

ONE_THING = Level((1.0, 0.0, 0.0), 0.0)
TWO_THINGS = Level((0.0, 1.0, 0.0), 0.0)
ONE_WORD = Level((1.0, 0.0, 0.0), 1.0)
BLURRY = "blurry, low quality"
_SIDE = 256
_STEPS, _SCALE = 20, 4.0
_TILE, _CAPTION, _ACROSS, _GAP = 128, 66, 8, 8  # pixels of the contact sheet, but for the number in a row
_SEED = 20_000  # of the held-out scenes; the renders' seeds count up from here too


@dataclass(frozen=True, slots=True)
class Setting:
    """How to render: steps, true CFG scale (1 turns guidance off), size in pixels, and the language of prompts."""

    steps: int = _STEPS
    scale: float = _SCALE
    width: int = _SIDE
    height: int = _SIDE
    language: Language = "en"


class Painter:
    """Renders scenes' captions and edits' instructions with one checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._entries = {entry.mode: entry for entry in load_catalog().with_embedded_weights().entries}

    def paint(
        self,
        prompt: str,
        seed: int,
        setting: Setting,
        negative: str | None = None,
        loras: tuple[LoraUse, ...] = (),
        controls: tuple[ControlUse, ...] = (),
    ) -> np.ndarray:
        """Text to image, uint8 [H, W, 3]."""
        return self._render("text_to_image", prompt, seed, setting, (), negative, loras, controls)

    def edit(self, edit: Edit, seed: int, setting: Setting) -> np.ndarray:
        """An edit of its drawn sources, uint8 [H, W, 3], by its first English phrasing."""
        with tempfile.TemporaryDirectory() as folder:
            references = []
            for number, scene in enumerate(edit.sources):
                path = Path(folder) / f"{number}.png"
                Image.fromarray(draw(scene, setting.width, setting.height)).save(path)
                references.append(Reference(path, "", setting.width, setting.height))
            mode: Mode = "edit" if len(references) == 1 else "edit_plus"
            return self._render(mode, edit.english[0], seed, setting, tuple(references), None)

    def _render(
        self,
        mode: Mode,
        prompt: str,
        seed: int,
        setting: Setting,
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
            setting.width,
            setting.height,
            setting.steps,
            Sampler(),
            setting.scale,
            seed,
            1,
            references,
            loras=loras,
            controls=controls,
        )
        return np.asarray(render(request, 0, self.checkpoint, entry, lambda step, total: None).image)


def score_single(painter: Painter, count: int, setting: Setting) -> dict[str, float]:
    """One thing: shares of pictures whose background, count, colour, shape, place and size are right."""
    scores: dict[str, list[bool]] = {}
    for seed, scene in held_out_scenes(ONE_THING, count):
        picture = painter.paint(exact_caption(scene, setting.language), seed, setting)
        found, (asked,) = things_in(picture), scene.things
        largest = found[0] if found else None
        _note(scores, "background", background_of(picture) == scene.background)
        _note(scores, "one object", len(found) == 1)
        for name in ("colour", "shape", "place", "size"):
            _note(scores, name, largest is not None and getattr(largest, name) == getattr(asked, name))
    return _shares(scores)


def score_two(painter: Painter, count: int, setting: Setting) -> dict[str, float]:
    """Two things: the share of pictures with all attributes right, and of things with theirs."""
    scores: dict[str, list[bool]] = {}
    for seed, scene in held_out_scenes(TWO_THINGS, count):
        picture = painter.paint(exact_caption(scene, setting.language), seed, setting)
        found = things_in(picture)
        _note(scores, "all attributes", shows(picture, scene))
        _note(scores, "count", len(found) == 2)
        for asked in scene.things:
            _note(scores, "each thing", any(matches(seen, asked) for seen in found))
            _note(scores, "each colour at its place", any(_coloured(seen, asked) for seen in found))
    return _shares(scores)


def score_words(painter: Painter, count: int, setting: Setting) -> dict[str, float]:
    """A word: the share of pictures in which it can be read."""
    scores: dict[str, list[bool]] = {}
    for seed, scene in held_out_scenes(ONE_WORD, count):
        assert scene.word is not None
        picture = painter.paint(exact_caption(scene, setting.language), seed, setting)
        _note(scores, "word", word_in(picture, scene.word.place, scene.word.colour) == scene.word.text)
    return _shares(scores)


def score_edits(painter: Painter, count: int, setting: Setting, kinds: Iterable[Kind] = KINDS) -> dict[str, float]:
    """Edits: the share of pictures that show the target, of each kind, and how well the rest was kept, in dB."""
    scores: dict[str, list[bool]] = {}
    kept: list[float] = []
    for kind in kinds:
        for seed, edit in _held_out_edits(kind, count):
            picture = painter.edit(edit, seed, setting)
            done = shows(picture, edit.target)
            _note(scores, "followed", done)
            _note(scores, kind, done)
            kept.append(untouched_psnr(picture, edit))
    return {**_shares(scores), "untouched dB": round(sum(kept) / len(kept), 1)}


def score_negative(painter: Painter, count: int, setting: Setting) -> dict[str, float]:
    """How many times as sharp pictures are with "blurry" as negative prompt, and where it is in the prompt too."""
    ratios: dict[str, list[float]] = {}
    for seed, scene in held_out_scenes(ONE_THING, count):
        plain = exact_caption(scene)
        for name, prompt in (("of plain prompts", plain), ("of blurry prompts", f"{plain}, {BLURRY}")):
            before, after = (painter.paint(prompt, seed, setting, negative) for negative in (None, BLURRY))
            ratios.setdefault(name, []).append(math.log(sharpness(after) / sharpness(before)))
    return {name: round(math.exp(sum(logs) / len(logs)), 2) for name, logs in ratios.items()}


def sharpness(picture: np.ndarray) -> float:
    """The inverse of the width of edges in pixels, at most 0.5, whatever their length and contrast.

    Across an edge of contrast C and width w, the gradient is C / w; weighted by itself, what is flat does not count.
    """
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)) / 8
    contrast = float(gray.max() - gray.min())
    return max(1e-3, float(np.square(slope).sum() / max(1e-9, slope.sum())) / max(1.0, contrast))


def untouched_psnr(picture: np.ndarray, edit: Edit) -> float:
    """PSNR in dB against the source where source and target agree, at least two pixels in 256 away from the change."""
    height, width = picture.shape[:2]
    source, target = draw(edit.sources[0], width, height), draw(edit.target, width, height)
    changed = (source != target).any(axis=2).astype(np.uint8)
    reach = 2 * max(1, round(2 * min(width, height) / 256)) + 1
    same = cv2.dilate(changed, np.ones((reach, reach), np.uint8)) == 0
    if not same.any():
        return 99.0
    error = np.square(picture[same].astype(np.float32) - source[same]).mean()
    return min(99.0, 10 * math.log10(255**2 / max(float(error), 1e-9)))


def contact_sheet(painter: Painter, prompts: int = 32, edits: int = 16) -> Image.Image:
    """Held-out prompts, eight to a row, then edits as source and result, four to a row; each over what was asked."""
    levels, setting = (ONE_THING, TWO_THINGS, HARD, ONE_WORD), Setting(width=_TILE, height=_TILE)
    tiles: list[tuple[list[np.ndarray], str]] = []
    for number in range(prompts):
        rng = np.random.default_rng([_SEED, 9, number])
        scene = random_scene(rng, levels[number % len(levels)], of_held_out=True)
        prompt = exact_caption(scene)
        tiles.append(([painter.paint(prompt, number, setting)], prompt))
    for number in range(edits):
        edit = random_edit(np.random.default_rng([_SEED, 8, number]), KINDS[number % len(KINDS)], of_held_out=True)
        sources = [draw(source, _TILE // len(edit.sources), _TILE) for source in edit.sources]
        tiles.append(([np.concatenate(sources, 1), painter.edit(edit, number, setting)], edit.english[0]))
    high = _TILE + _CAPTION
    sheet = Image.new("RGB", (_ACROSS * (_TILE + _GAP), -(-(prompts + 2 * edits) // _ACROSS) * high), "white")
    pen, place = ImageDraw.Draw(sheet), 0
    for pictures, asked in tiles:
        corner = (place % _ACROSS * (_TILE + _GAP), place // _ACROSS * high)
        for number, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (corner[0] + number * (_TILE + _GAP), corner[1]))
        text = textwrap.fill(asked, 26 * len(pictures))
        pen.multiline_text((corner[0], corner[1] + _TILE + 2), text, fill="black", font_size=10, spacing=1)
        place += len(pictures)
    return sheet


def held_out_scenes(level: Level, count: int) -> Iterable[tuple[int, Scene]]:
    """Seeds and scenes that were never trained on."""
    rng = np.random.default_rng([_SEED, *(round(100 * share) for share in level.things), round(100 * level.words)])
    for number in tqdm(range(count), leave=False):
        yield _SEED + number, random_scene(rng, level, of_held_out=True)


def _held_out_edits(kind: Kind, count: int) -> Iterable[tuple[int, Edit]]:
    rng = np.random.default_rng([_SEED, KINDS.index(kind)])
    for number in tqdm(range(count), desc=kind, leave=False):
        yield _SEED + number, random_edit(rng, kind, of_held_out=True)


def _coloured(seen: Seen, asked: Thing) -> bool:
    return (seen.colour, seen.place) == (asked.colour, asked.place)


def _note(scores: dict[str, list[bool]], name: str, right: bool) -> None:
    scores.setdefault(name, []).append(right)


def _shares(scores: dict[str, list[bool]]) -> dict[str, float]:
    return {name: round(sum(rights) / len(rights), 3) for name, rights in scores.items()}


def evaluate(painter: Painter, count: int) -> dict[str, dict[str, float]]:
    """All scores, by what was asked and how."""
    usual = Setting()
    few = max(4, count // 4)
    found: dict[str, dict[str, float]] = {
        "VAE, dB": {f"{side} px": round(psnr(painter.checkpoint.vae, side), 1) for side in (128, 256)},
        "one thing": score_single(painter, count, usual),
        "two things": score_two(painter, count, usual),
        "word": score_words(painter, count, usual),
        "edits": score_edits(painter, max(2, count // 8), usual),
        "negative prompt": score_negative(painter, few, usual),
    }
    variations: Sequence[tuple[str, Setting]] = (
        ("in Chinese", replace(usual, language="zh")),
        ("without guidance", replace(usual, scale=1.0)),
        ("8 steps", replace(usual, steps=8)),
        ("28 steps", replace(usual, steps=28)),
        ("128 px", replace(usual, width=128, height=128)),
        ("512 px", replace(usual, width=512, height=512)),
        ("1024 × 768 px", replace(usual, width=1024, height=768)),
    )
    score: Callable[[Painter, int, Setting], dict[str, float]] = score_single
    return found | {f"one thing, {name}": score(painter, few, setting) for name, setting in variations}


def main() -> None:
    """Score, print and keep."""
    scoring = Scoring.parse(__doc__)
    painter = Painter(scoring.load())
    scoring.keep(evaluate(painter, scoring.count))
    if scoring.sheet:
        contact_sheet(painter).save(scoring.sheet)


if __name__ == "__main__":
    main()
