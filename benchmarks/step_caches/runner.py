"""Measures every variant on every prompt with a progress bar, and resumes an interrupted run.

Knows what to render and where the results go; knows not how one image is measured.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from PIL import Image

from benchmarks.step_caches.prompts import Prompt
from benchmarks.step_caches.results import Case, ResultsFile
from benchmarks.step_caches.variants import Variant

if TYPE_CHECKING:
    from benchmarks.step_caches.measure import Measurer  # imports torch

IMAGE_QUALITY = 90  # WebP, for looking at: every figure is of the image itself


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement to make: a variant on a prompt with a seed, compared with `steps` uncached steps."""

    variant: Variant
    prompt: Prompt
    seed: int
    steps: int


def make_samples(
    variants: dict[int, Sequence[Variant]], prompts: Sequence[Prompt], seeds: Sequence[int]
) -> list[Sample]:
    """All samples of a run; the keys of `variants` are the baseline's steps.

    The order is prompt by prompt: an interrupted run has some prompts complete rather than some variants.
    """
    return [
        Sample(variant, prompt, seed, steps)
        for steps, of_steps in variants.items()
        for seed in seeds
        for prompt in prompts
        for variant in of_steps
    ]


def run(measurer: "Measurer", samples: Sequence[Sample], results: ResultsFile, images: Path, repeats: int) -> int:
    """Render each sample until the file has `repeats` runs of it. Returns the number of samples that lacked some."""
    lacking = [(s, repeats - results.repeats(measurer.case(s.variant, s.prompt, s.seed, s.steps))) for s in samples]
    missing = [(sample, count) for sample, count in lacking if count > 0]
    if not missing:
        return 0
    images.mkdir(parents=True, exist_ok=True)
    first, _ = missing[0]
    measurer.render(measurer.request(first.prompt, first.seed, first.steps))  # warms the libraries up
    with typer.progressbar(missing, label="results", file=sys.stderr, item_show_func=_describe) as bar:
        for sample, count in bar:
            measurement, image = measurer.measure(sample.variant, sample.prompt, sample.seed, sample.steps, count)
            save_image(image, image_path(images, measurement.case))
            results.append(measurement)
    return len(missing)


def image_path(folder: Path, case: Case) -> Path:
    """The path of the image of a case."""
    return folder / f"{case.key}.webp"


def save_image(image: Image.Image, path: Path) -> None:
    """Write an image for looking at."""
    image.save(path, "WEBP", quality=IMAGE_QUALITY)


def _describe(item: tuple[Sample, int] | None) -> str | None:
    return None if item is None else f"{item[0].variant.name}: {item[0].prompt.text[:40]}"
