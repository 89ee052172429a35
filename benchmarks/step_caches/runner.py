"""Every setting on every prompt, with a progress bar; goes on where it was interrupted.

Knows what is to be drawn and where results go; how one is measured is `measuring`'s.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from PIL import Image

from benchmarks.step_caches.measure import Bench
from benchmarks.step_caches.prompts import Prompt
from benchmarks.step_caches.results import Case, ResultsFile
from benchmarks.step_caches.variants import Job

PICTURE_QUALITY = 90  # WebP, for looking at: every figure is of the picture itself


@dataclass(frozen=True, slots=True)
class Unit:
    """One result to come."""

    job: Job
    prompt: Prompt
    seed: int
    steps: int


def units_of(jobs: dict[int, Sequence[Job]], prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Unit]:
    """All results of a campaign; `jobs` are by the number of steps they are held against.

    Prompt by prompt, so that a run that is cut short has some prompts whole rather than some settings.
    """
    return [
        Unit(job, prompt, seed, steps)
        for steps, ways in jobs.items()
        for seed in seeds
        for prompt in prompts
        for job in ways
    ]


def run(bench: Bench, units: Sequence[Unit], results: ResultsFile, pictures: Path, repeats: int) -> int:
    """Measure what the file does not have yet. Returns how many that were."""
    left = [unit for unit in units if bench.case(unit.job, unit.prompt, unit.seed, unit.steps) not in results]
    if not left:
        return 0
    pictures.mkdir(parents=True, exist_ok=True)
    first = left[0]
    bench.draw(bench.request(first.prompt, first.seed, first.steps))  # the libraries' own start is nobody's time
    with typer.progressbar(left, label="results", file=sys.stderr, item_show_func=_shown) as bar:
        for unit in bar:
            result, picture = bench.measure(unit.job, unit.prompt, unit.seed, unit.steps, repeats)
            save_picture(picture, picture_path(pictures, result.case))
            results.append(result)
    return len(left)


def picture_path(folder: Path, case: Case) -> Path:
    """Where the picture of a case lies."""
    return folder / f"{case.key}.webp"


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write it for looking at."""
    picture.save(path, "WEBP", quality=PICTURE_QUALITY)


def _shown(unit: Unit | None) -> str | None:
    return None if unit is None else f"{unit.job.name}: {unit.prompt.text[:40]}"
