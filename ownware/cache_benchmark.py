"""Plans and runs the step-cache benchmark on a model of this machine.

Finds models and devices as the server does; `benchmarks.step_caches` measures.
"""

import importlib.util
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.step_caches.prompts import default_prompts, load_prompts
from benchmarks.step_caches.results import ResultsFile
from benchmarks.step_caches.runner import Sample, make_samples, run
from benchmarks.step_caches.variants import DEFAULT, load_settings, make_variants
from ownware.console import print_message
from ownware.local_models import LocalModels
from ownware.options import default_side, parse_integers, parse_size
from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.profiles import CalibrationKey, Profiles
from pipelines.limits import MAX_SEED, MAX_STEPS
from server.extras import install_command
from server.settings import Settings

EXTRA = "benchmark"
_PACKAGES = ("skimage", "flip_evaluator", "matplotlib", "jinja2")


class BenchError(ValueError):
    """A command of `ownware bench` cannot run; the message says why."""


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """The options of `ownware bench caches` as they were typed; None means the default."""

    model: str | None
    prompts: Path | None
    settings: Path | None
    steps: str | None
    seeds: str
    size: str | None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The measurement, with every option resolved. `notes` says which settings cannot act, and their warnings."""

    entry: ModelEntry
    models: LocalModels
    width: int
    height: int
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]


def check_packages() -> None:
    """Raise `BenchError` when a package of the extra `benchmark` is missing."""
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise BenchError(f"{missing[0]} is not installed: {install_command(EXTRA)}")


def plan_benchmark(options: BenchmarkOptions, settings: Settings) -> Benchmark:
    """Resolve the options without loading a model.

    Raises `OptionError`, `CatalogError`, `ProfileError`, `PromptsError` or `SettingsError`.
    """
    models = LocalModels.find(settings)
    entry = models.catalog.entries[0] if options.model is None else models.entry("--model", options.model)
    prompts = default_prompts(entry) if options.prompts is None else load_prompts(options.prompts, entry)
    counts = (entry.steps,) if options.steps is None else parse_integers("--steps", options.steps, 1, MAX_STEPS)
    width, height = parse_size("--size", options.size) if options.size else (default_side(entry),) * 2
    cache_settings = load_settings(options.settings or DEFAULT)
    profiles = Profiles(models.catalog, settings.profiles)
    area = entry.native_area or width * height
    variants, notes = {}, []
    for count in counts:
        params = partial(profiles.choose, entry, CalibrationKey(count, entry.true_cfg_scale > 1, area))
        variants[count], said = make_variants(cache_settings, entry, count, settings.threshold_direction, params)
        notes += said
    samples = make_samples(variants, prompts, parse_integers("--seeds", options.seeds, 0, MAX_SEED))
    return Benchmark(entry, models, width, height, tuple(samples), tuple(notes))


def run_benchmark(benchmark: Benchmark, results: ResultsFile, images: Path, repeats: int) -> int:
    """Measure what the results file lacks. Returns the number of new results. Raises `RenderError`."""
    # torch and the models take seconds to import: everything that can fail earlier has been checked.
    from benchmarks.step_caches.measure import Measurer
    from benchmarks.step_caches.ocr import Reader, ocr_available

    reader = None
    if not ocr_available():
        print_message(f"words are not read, because rapidocr is not installed: {install_command(EXTRA)}")
    elif any(sample.prompt.words for sample in benchmark.samples):
        reader = Reader()
    checkpoint = benchmark.models.load(benchmark.entry).checkpoint
    measurer = Measurer(checkpoint, benchmark.entry, benchmark.width, benchmark.height, reader)
    return run(measurer, benchmark.samples, results, images, repeats)
