"""`ownware calibrate teacache`: render prompts in full, fit TeaCache's figures to what is seen, write a profile.

Runs in the command's own process, with the models and the data folder that the settings name.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from PIL import Image

from accel.cache.profile import FORMAT, Fit, Profile, write_profile
from accel.calibration.fit import HOLD_OUT_EVERY, CalibrationError, fit_curves
from accel.calibration.traces import FORMAT as TRACE_FORMAT
from accel.calibration.traces import Header, Trace, write_traces
from pipelines.catalog.catalog import BUILT_IN, EMBEDDED_FOLDER, CatalogError, ModelEntry
from pipelines.catalog.fingerprint import file_digest
from pipelines.catalog.profiles import profile_file, recipe_of
from pipelines.catalog.templates import find_control_token
from pipelines.errors import RenderError
from pipelines.limits import MAX_SIDE, MAX_STEPS, MIN_SIDE, SIDE_MULTIPLE, is_side
from pipelines.request import Reference, RenderRequest, Sampler
from server.devices import find_devices
from server.run import choose_catalog
from server.settings import Settings

if TYPE_CHECKING:
    from pipelines.models.loader import Checkpoint

# Varied subjects, lettering and two languages; the embedded checkpoint knows only what it was trained on.
PROMPTS = BUILT_IN.with_name("prompts.txt")
FACTOR = 0.6  # from teaCacheDistance to the threshold: the default of 0.5 becomes 0.3, as for the borrowed figures
LEAST_STEPS, MAX_SCALE = 4, 50
SEED = 1

Prompt = tuple[str, tuple[Reference, ...]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be measured: every combination of steps and guidance, at one size, on prompts from a file.

    `guidance` is empty for the model's own.
    """

    model: str
    prompts: Path | None
    steps: tuple[int, ...]
    size: tuple[int, int]
    guidance: tuple[float, ...]
    out: Path | None
    traces: Path | None


def read_wish(
    model: str, prompts: Path | None, steps: str, size: str, guidance: str | None, out: Path | None, traces: Path | None
) -> Wish:
    """From the options as they were typed. Raises `CalibrationError`, naming the option."""
    if not re.fullmatch(r"\d+(,\d+)*", steps):
        raise CalibrationError(f"--steps: '{steps}' is no list of whole numbers such as 20,28")
    counts = tuple(int(number) for number in steps.split(","))
    if not all(LEAST_STEPS <= count <= MAX_STEPS for count in counts):
        raise CalibrationError(f"--steps: {steps}; {LEAST_STEPS} to {MAX_STEPS} are possible")
    sides = re.fullmatch(r"(\d+)(?:x(\d+))?", size)
    width, height = (int(sides[1]), int(sides[2] or sides[1])) if sides else (0, 0)
    if not all(is_side(side) for side in (width, height)):
        limits = f"multiples of {SIDE_MULTIPLE} from {MIN_SIDE} to {MAX_SIDE}"
        raise CalibrationError(f"--size: '{size}' is no size such as 1024 or 1328x800 in {limits}")
    try:
        scales = tuple(float(scale) for scale in guidance.split(",")) if guidance else ()
    except ValueError as error:
        raise CalibrationError(f"--guidance: '{guidance}' is no list of numbers such as 4,1") from error
    if not all(1 <= scale <= MAX_SCALE for scale in scales) or len({scale > 1 for scale in scales}) < len(scales):
        raise CalibrationError(f"--guidance: {guidance}; at most one above 1 and up to {MAX_SCALE}, and 1 for none")
    return Wish(model, prompts, counts, (width, height), scales, out, traces)


def calibrate(wish: Wish, settings: Settings) -> int:
    """Measure, fit, write. Returns the exit status: 0 written, 1 not good enough, 2 impossible."""
    try:
        devices = find_devices(settings.devices)
        entry = choose_catalog(settings, devices).find(wish.model)
        if entry is None:
            raise CalibrationError(f"--model: '{wish.model}' is not in the catalogue")
        prompts = tuple(_prompts(wish.prompts, entry))
        if len(prompts) < HOLD_OUT_EVERY:
            raise CalibrationError(f"--prompts: {len(prompts)}; at least {HOLD_OUT_EVERY} are needed, better 30")
        wish = replace(wish, guidance=wish.guidance or (entry.true_cfg_scale,))
        out = wish.out or settings.profiles / profile_file(entry)
        for path in filter(None, (out, wish.traces)):  # whether they can be written is told before hours of rendering
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("ab").close()
        header, traces = _measured(wish, entry, prompts, devices[0])
        if wish.traces is not None:
            write_traces(wish.traces, header, traces)
            typer.echo(f"{wish.traces}: traces of {len(traces)} images")
    except (CalibrationError, CatalogError, OSError, UnicodeDecodeError) as error:
        typer.echo(f"ownware: {error}", err=True)
        return 2
    try:
        fits = tuple(_fits(wish, traces))
    except CalibrationError as error:
        typer.echo(f"ownware: no profile is written: {error}", err=True)
        return 1
    write_profile(
        out, Profile(FORMAT, _source(wish, entry, prompts), False, FACTOR, fits, header.recipe, header.recipe.digest)
    )
    typer.echo(f"{out}: recipe {header.recipe.digest[:12]}; a server reads it when it starts")
    return 0


def _prompts(path: Path | None, entry: ModelEntry) -> Iterator[Prompt]:
    """A prompt a line, for models that edit after a picture's path and a tab. Raises `CalibrationError`, `OSError`."""
    if path is None and entry.mode != "text_to_image":
        raise CalibrationError("--prompts: a model that edits needs a file of lines 'picture<tab>instruction'")
    path = path or (EMBEDDED_FOLDER / PROMPTS.name if entry.embedded else PROMPTS)
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
        picture = path.parent / name.strip()
        with Image.open(picture) as image:
            width, height = image.size
        yield instruction.strip(), (Reference(picture, file_digest(picture), width, height),)


def _measured(
    wish: Wish, entry: ModelEntry, prompts: Sequence[Prompt], device: str
) -> tuple[Header, tuple[Trace, ...]]:
    """Raises `CalibrationError` when the model cannot be loaded or does not render."""
    # torch and the models take seconds, and only from here on are they needed.
    from pipelines.models.loader import ModelCache

    try:
        checkpoint = ModelCache(device).get(entry)
        recipe = recipe_of(entry.weights)
        if recipe is None:
            raise CalibrationError(f"weights '{entry.weights}': there is no transformer or no scheduler folder")
        return Header(TRACE_FORMAT, entry.air, recipe), tuple(_traces(wish, entry, prompts, checkpoint))
    except (RenderError, ValueError, FloatingPointError) as error:
        raise CalibrationError(str(error)) from error


def _fits(wish: Wish, traces: Sequence[Trace]) -> Iterator[Fit]:
    for steps in wish.steps:
        for scale in wish.guidance:
            found = fit_curves([trace for trace in traces if (trace.steps, trace.guidance) == (steps, scale)])
            typer.echo(_in_words(found, scale))
            yield found


def _source(wish: Wish, entry: ModelEntry, prompts: Sequence[Prompt]) -> str:
    what = "the embedded checkpoint" if entry.embedded else f"{entry.name} ({entry.air})"
    width, height = wish.size
    scales = ", ".join(f"{scale:g}" for scale in wish.guidance)
    return (
        f"Measured with `ownware calibrate teacache` on {what}, {len(prompts)} prompts of which one in "
        f"{HOLD_OUT_EVERY} is held out; {width} x {height} pixels asked for, guidance {scales}, sampler euler."
    )


def _traces(
    wish: Wish,
    entry: ModelEntry,
    prompts: Sequence[Prompt],
    checkpoint: "Checkpoint",
) -> Iterator[Trace]:
    """Draw every prompt at every setting, in full. The same seeds at each, so that what differs is the setting."""
    from accel.calibration.recorder import Recorder
    from pipelines.render import advance, prepare

    width, height = wish.size
    runs = [(steps, scale, number) for steps in wish.steps for scale in wish.guidance for number in range(len(prompts))]
    total = sum(steps for steps, _, _ in runs)
    with typer.progressbar(length=total, label=f"{len(runs)} images, steps", file=sys.stderr) as bar:
        for steps, scale, number in runs:
            text, references = prompts[number]
            seed = SEED + number
            request = RenderRequest(
                entry.air, text, None, width, height, steps, Sampler(), scale, seed, references=references
            )
            state = prepare(request, 0, checkpoint, entry)
            recorder = state.recorder = Recorder()
            _, rows, columns = state.shape
            while state.step < state.total:
                advance([state])
                bar.update(1)
            side = checkpoint.vae.spatial_compression_ratio * 2
            yield Trace(text, seed, steps, scale, columns * side, rows * side, recorder.observations)


def _in_words(found: Fit, scale: float) -> str:
    table, polynomial = (curve.r2 if curve else None for curve in (found.table, found.polynomial))
    used = "table" if found.curve is found.table else "polynomial"
    return (
        f"{found.steps} steps, guidance {scale:g}: R² on held-out prompts {table} for the table over sigma, "
        f"{polynomial} for the polynomial; the {used} is used"
    )
