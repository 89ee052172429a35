"""Calibrates TeaCache for a model: renders prompts in full, records traces, and fits a profile to them."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from PIL import Image

from accel.cache.profile import FORMAT, Fit, Measured, Profile
from accel.calibration.fit import HOLD_OUT_EVERY, MIN_HELD_OUT, CalibrationError, fit_curves
from accel.calibration.traces import FORMAT as TRACE_FORMAT
from accel.calibration.traces import Header, Trace, TraceFile
from ownware.console import print_message
from ownware.local_models import LocalModels
from ownware.options import OptionError, parse_integers, parse_numbers, parse_size
from pipelines.catalog.catalog import BUILT_IN, EMBEDDED_FOLDER, ModelEntry
from pipelines.catalog.fingerprint import file_digest
from pipelines.catalog.profiles import is_near_area, recipe_of
from pipelines.catalog.templates import find_control_token
from pipelines.errors import RenderError
from pipelines.limits import MAX_STEPS
from pipelines.request import Reference, RenderRequest

if TYPE_CHECKING:
    from pipelines.models.checkpoint import LoadedModel

# Varied subjects, text and two languages. The embedded checkpoint knows only what it was trained on.
PROMPTS = BUILT_IN.with_name("prompts.txt")
FACTOR = 0.6  # from teaCacheDistance to the threshold: the default of 0.5 becomes 0.3, as for the borrowed profile
MIN_STEPS, MAX_SCALE = 4, 50
SEED = 1

Prompt = tuple[str, tuple[Reference, ...]]


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """The measurement: every combination of steps and guidance scales, at one size, on the prompts of a file.

    `guidance` is empty for the model's own scale.
    """

    prompts: Path | None
    steps: tuple[int, ...]
    size: tuple[int, int]
    guidance: tuple[float, ...]

    @classmethod
    def parse(cls, prompts: Path | None, steps: str, size: str, guidance: str | None) -> "CalibrationOptions":
        """From the texts of the options. Raises `OptionError`."""
        scales = parse_numbers("--guidance", guidance, 1, MAX_SCALE) if guidance else ()
        if len({scale > 1 for scale in scales}) < len(scales):
            raise OptionError("--guidance", f"{guidance}: give at most one scale above 1, and 1 for no guidance")
        counts = parse_integers("--steps", steps, MIN_STEPS, MAX_STEPS)
        return cls(prompts, counts, parse_size("--size", size), scales)

    def resolved(self, entry: ModelEntry) -> "CalibrationOptions":
        """With the model's own guidance scale when none is given."""
        return replace(self, guidance=self.guidance or (entry.true_cfg_scale,))


def load_prompts(path: Path | None, entry: ModelEntry) -> tuple[Prompt, ...]:
    """The prompts of a file, by default those of the project. A line is a prompt; for a model that edits it is the path
    of an image, a tab and an instruction.

    Raises `CalibrationError` or `OSError`.
    """
    if path is None and entry.mode != "text_to_image":
        raise CalibrationError("--prompts: a model that edits needs a file of lines 'picture<tab>instruction'")
    prompts = tuple(_read_prompts(path or (EMBEDDED_FOLDER / PROMPTS.name if entry.embedded else PROMPTS), entry))
    if len(prompts) < HOLD_OUT_EVERY:
        raise CalibrationError(f"--prompts: {len(prompts)}; at least {HOLD_OUT_EVERY} are needed, better 30")
    return prompts


def compare_with(
    existing: Profile, options: CalibrationOptions, entry: ModelEntry, prompts: Sequence[Prompt], dtype: str
) -> tuple[str, ...]:
    """The settings of an existing profile of the same weights that this calibration leaves out."""
    lacking = []
    if existing.recipe is None or existing.recipe != recipe_of(entry):
        return ()
    if (measured := existing.measured) is not None:
        if measured.prompts > len(prompts):
            lacking.append(f"{measured.prompts} prompts and not {len(prompts)}")
        if (measured.mode, measured.dtype) != (entry.mode, dtype):
            lacking.append(f"{measured.mode} in {measured.dtype} and not {entry.mode} in {dtype}")
    guided = {scale > 1 for scale in options.guidance}
    for fit in existing.fits:
        covered = fit.steps in options.steps and fit.guided in guided
        if not covered or not is_near_area(fit.area, _area(options, entry)):
            lacking.append(f"{fit.steps} steps with guidance {'on' if fit.guided else 'off'} at {fit.area} pixels")
    return tuple(lacking)


def find_gaps(options: CalibrationOptions, entry: ModelEntry, prompts: Sequence[Prompt]) -> tuple[str, ...]:
    """The model's default settings that this calibration does not measure."""
    gaps = []
    if len(prompts) < MIN_HELD_OUT * HOLD_OUT_EVERY:
        gaps.append(f"{len(prompts)} prompts are too few for an R²: {MIN_HELD_OUT * HOLD_OUT_EVERY} give one")
    if entry.steps not in options.steps:
        gaps.append(f"the model's own {entry.steps} steps are not measured")
    if (entry.true_cfg_scale > 1) not in {scale > 1 for scale in options.guidance}:
        gaps.append(f"the model's own guidance of {entry.true_cfg_scale:g} is not measured")
    own_area = entry.native_area or entry.output_area
    if not is_near_area(_area(options, entry), own_area):
        gaps.append(f"{_area(options, entry)} pixels are measured, and the model's own are {own_area}")
    return tuple(gaps)


def rendering_dtype(device: str) -> str:
    """The type of the numbers that models render with on a device."""
    import torch

    from pipelines.models.devices import default_dtype

    return str(default_dtype(torch.device(device))).removeprefix("torch.")


def record_traces(
    options: CalibrationOptions, entry: ModelEntry, prompts: Sequence[Prompt], models: LocalModels, partial: Path
) -> tuple[Header, tuple[Trace, ...]]:
    """Render every prompt at every setting and record the traces. Each image is written to `partial` at once.

    Images that `partial` has from an earlier run are not rendered again. Raises `CalibrationError` when the model
    cannot be loaded or does not render.
    """
    try:
        model = models.load(entry)
        recipe = recipe_of(entry)
        if recipe is None:
            raise CalibrationError(f"weights '{entry.files}': there is no transformer or no scheduler folder")
        dtype = str(model.checkpoint.dtype).removeprefix("torch.")
        header = Header(TRACE_FORMAT, entry.air, recipe, dtype, options.size)
        file = TraceFile(partial, header)
        if len(file):
            print_message(f"{partial}: {len(file)} images of an earlier run are taken up")
        return header, tuple(_record(options, entry, prompts, model, file))
    except (RenderError, ValueError, FloatingPointError) as error:
        raise CalibrationError(str(error)) from error


def fit_profile(
    options: CalibrationOptions, entry: ModelEntry, prompts: Sequence[Prompt], header: Header, traces: Sequence[Trace]
) -> tuple[Profile, tuple[str, ...]]:
    """The profile, and a sentence about the quality of each fit. Raises `CalibrationError` when a fit is not good."""
    fits = {
        (steps, scale): fit_curves([trace for trace in traces if (trace.steps, trace.guidance) == (steps, scale)])
        for steps in options.steps
        for scale in options.guidance
    }
    source = _source(options, entry, len(prompts))
    measured = Measured(len(prompts), entry.mode, str(header.dtype))
    recipe = header.recipe
    profile = Profile(FORMAT, source, False, FACTOR, tuple(fits.values()), recipe, recipe.digest, measured)
    return profile, tuple(_quality(found, scale, len(prompts)) for (_, scale), found in fits.items())


def _read_prompts(path: Path, entry: ModelEntry) -> Iterator[Prompt]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        if token := find_control_token(line):
            raise CalibrationError(f"{path}: line {number}: the prompt contains the control token {token}")
        if entry.mode == "text_to_image":
            yield line.strip(), ()
            continue
        name, tab, instruction = line.partition("\t")
        if not tab or not instruction.strip():
            raise CalibrationError(f"{path}: line {number}: 'picture<tab>instruction' is expected")
        image_path = path.parent / name.strip()
        with Image.open(image_path) as image:
            width, height = image.size
        yield instruction.strip(), (Reference(image_path, file_digest(image_path), width, height),)


def _area(options: CalibrationOptions, entry: ModelEntry) -> int:
    width, height = options.size
    return entry.native_area or width * height


def _record(
    options: CalibrationOptions, entry: ModelEntry, prompts: Sequence[Prompt], model: "LoadedModel", file: TraceFile
) -> Iterator[Trace]:
    """One trace a prompt and setting. Every setting has the same seeds, so that only the setting differs."""
    runs = [(steps, scale, n) for steps in options.steps for scale in options.guidance for n in range(len(prompts))]
    total = sum(steps for steps, _, _ in runs)
    with typer.progressbar(length=total, label=f"{len(runs)} images, steps", file=sys.stderr) as bar:
        for steps, scale, number in runs:
            text, references = prompts[number]
            key = (text, tuple(reference.sha256 for reference in references), SEED + number, steps, scale)
            if (trace := file.find(key)) is not None:
                bar.update(steps)
            else:
                trace = _render_trace(options, entry, prompts[number], (SEED + number, steps, scale), model, bar.update)
                file.append(trace)
            yield trace


def _render_trace(
    options: CalibrationOptions,
    entry: ModelEntry,
    prompt: Prompt,
    how: tuple[int, int, float],
    model: "LoadedModel",
    advanced: Callable[[int], None],
) -> Trace:
    """Render one image with a seed, steps and guidance scale, and return what was recorded."""
    from accel.calibration.recorder import Recorder
    from pipelines.render.prepare import prepare
    from pipelines.render.steps import advance

    (text, references), (seed, steps, scale), (width, height) = prompt, how, options.size
    request = RenderRequest(
        entry.air, text, None, width, height, steps, entry.sampler, scale, seed, references=references
    )
    state = prepare(request, 0, model, entry)
    recorder = state.recorder = Recorder()
    _, rows, columns = state.shape
    while state.step < state.total:
        advance([state])
        advanced(1)
    side = model.checkpoint.vae.spatial_compression_ratio * 2
    digests = tuple(reference.sha256 for reference in references)
    return Trace(text, seed, steps, scale, columns * side, rows * side, recorder.observations, digests)


def _source(options: CalibrationOptions, entry: ModelEntry, prompts: int) -> str:
    what = "the embedded checkpoint" if entry.embedded else f"{entry.name} ({entry.air})"
    width, height = options.size
    scales = ", ".join(f"{scale:g}" for scale in options.guidance)
    return (
        f"Measured with `ownware calibrate teacache` on {what}, {prompts} prompts of which one in {HOLD_OUT_EVERY} is "
        f"held out; {width} x {height} pixels asked for, guidance {scales}, sampler euler."
    )


def _quality(found: Fit, scale: float, prompts: int) -> str:
    table, polynomial = (curve.r2 if curve else None for curve in (found.table, found.polynomial))
    used = "table" if found.curve is found.table else "polynomial"
    held_out = prompts // HOLD_OUT_EVERY
    where = f"{found.steps} steps, guidance {scale:g}"
    if table is None:
        return f"{where}: the {used} over sigma is used; {held_out} held-out prompts are too few for an R²"
    return (
        f"{where}: R² on {held_out} held-out prompts {table} for the table over sigma, {polynomial} for the "
        f"polynomial; the {used} is used"
    )
