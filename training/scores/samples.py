"""Draws the sheet of samples: of each kind of picture the best ones and the typical ones.

    python -m training.scores.samples [--weights build/embedded] [--count 16] [--sheet sheet.png]

`count` held-out prompts of a kind are rendered. The reader of the scores ranks the pictures: the best come first, the
typical are those in the middle. Knows scenes and the loop; knows no training.
"""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from training.data.captions import exact_caption
from training.data.edits import KINDS, random_edit
from training.data.random_scenes import Level
from training.data.scenes import draw_scene
from training.scores.evaluate import ONE_THING, ONE_WORD, SEED, TWO_THINGS, Renderer, RenderOptions, held_out_scenes
from training.scores.measure import likeness, matches_scene
from training.scores.scoring import Scoring

_LEVELS = {"one thing": ONE_THING, "two things": TWO_THINGS, "a word": ONE_WORD}
_EACH = 4  # best and typical samples of a kind
_TILE, _CAPTION, _HEADING, _GAP = 128, 66, 20, 8  # pixels


@dataclass(frozen=True, slots=True)
class Sample:
    """Pictures beside each other, the last one rendered, with the prompt and the rank of that one."""

    pictures: tuple[np.ndarray, ...]
    prompt: str
    rank: tuple[bool, float]


def best_and_typical(samples: Iterable[Sample], each: int) -> tuple[list[Sample], list[Sample]]:
    """Return the samples of the highest rank, and those in the middle of all by rank."""
    ranked = sorted(samples, key=lambda sample: sample.rank, reverse=True)
    middle = (len(ranked) - each) // 2
    return ranked[:each], ranked[middle : middle + each]


def scene_samples(renderer: Renderer, level: Level, count: int) -> Iterator[Sample]:
    """Render held-out scenes of a level."""
    options = RenderOptions(width=_TILE, height=_TILE)
    for seed, scene in held_out_scenes(level, count):
        prompt = exact_caption(scene)
        picture = renderer.render(prompt, seed, options)
        yield Sample((picture,), prompt, (matches_scene(picture, scene), likeness(picture, scene)))


def edit_samples(renderer: Renderer, count: int) -> Iterator[Sample]:
    """Render held-out edits, of each kind in turn."""
    options = RenderOptions(width=_TILE, height=_TILE)
    for number in range(count):
        edit = random_edit(np.random.default_rng([SEED, 8, number]), KINDS[number % len(KINDS)], of_held_out=True)
        sources = [draw_scene(source, _TILE // len(edit.sources), _TILE) for source in edit.sources]
        picture = renderer.edit(edit, number, options)
        rank = matches_scene(picture, edit.target), likeness(picture, edit.target)
        yield Sample((np.concatenate(sources, 1), picture), edit.english[0], rank)


def sample_sheet(renderer: Renderer, count: int) -> Image.Image:
    """Draw a row for each kind, the best pictures on the left and the typical ones on the right; for edits two rows."""
    rows: list[list[tuple[str, list[Sample]]]] = []
    for name, level in _LEVELS.items():
        best, typical = best_and_typical(scene_samples(renderer, level, count), _EACH)
        rows.append([(_best(name, count), best), (f"{name}: typical, the middle {_EACH}", typical)])
    best, typical = best_and_typical(edit_samples(renderer, count), _EACH)
    rows += [[(_best("edits", count), best)], [(f"edits: typical, the middle {_EACH}", typical)]]
    high = _HEADING + _TILE + _CAPTION
    sheet = Image.new("RGB", (2 * _EACH * (_TILE + _GAP), len(rows) * high), "white")
    for number, row in enumerate(rows):
        left = 0
        for heading, samples in row:
            ImageDraw.Draw(sheet).text((left, number * high + 2), heading, fill="black", font_size=14)
            for sample in samples:
                _paste(sheet, sample, left, number * high + _HEADING)
                left += len(sample.pictures) * (_TILE + _GAP)
    return sheet


def _best(name: str, count: int) -> str:
    return f"{name}: the best {_EACH} of {count}"


def _paste(sheet: Image.Image, sample: Sample, left: int, top: int) -> None:
    for number, picture in enumerate(sample.pictures):
        sheet.paste(Image.fromarray(picture), (left + number * (_TILE + _GAP), top))
    text = textwrap.fill(sample.prompt, 26 * len(sample.pictures))
    ImageDraw.Draw(sheet).multiline_text((left, top + _TILE + 2), text, fill="black", font_size=10, spacing=1)


def main() -> None:
    """Render and draw."""
    scoring = Scoring.parse(__doc__, sheet=True, count=16)
    scoring.save_sheet(sample_sheet(Renderer(scoring.load(), scoring.area), scoring.count))


if __name__ == "__main__":
    main()
