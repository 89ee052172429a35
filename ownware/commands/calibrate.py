"""`ownware calibrate teacache`: measure a model and write the profile that TeaCache runs with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ownware.console import IMPOSSIBLE, fail, print_message, print_messages
from ownware.server_options import PASS_THROUGH, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ownware.calibration import CalibrationOptions, Prompt
    from pipelines.catalog.catalog import ModelEntry
    from server.settings import Settings

DONE, NOT_GOOD_ENOUGH, INTERRUPTED = 0, 1, 130

app = typer.Typer(help="Measure a model for step caches.", no_args_is_help=True)


@app.command(**PASS_THROUGH)
def teacache(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="AIR identifier or slug of the model to measure.")],
    prompts: Annotated[
        Path | None, typer.Option(help="One prompt a line; for models that edit: picture, tab, instruction.")
    ] = None,
    steps: Annotated[str, typer.Option(help="Numbers of steps, comma separated.")] = "20,28",
    size: Annotated[str, typer.Option(help="Pixels: a side, or width x height as in 1328x800.")] = "1024",
    guidance: Annotated[
        str | None, typer.Option(help="Scales, comma separated, such as 4,1; default: the model's own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The profile to write; default: the model's own in the profile folder.")
    ] = None,
    traces: Annotated[Path | None, typer.Option(help="Keep the traces here, for `ownware simulate`.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a profile that was measured on more.")] = False,
) -> None:
    """Fit TeaCache's profile to a model; takes the model options of `serve` too."""
    settings = read_settings(context.args)
    from ownware.calibration import CalibrationOptions
    from ownware.options import OptionError

    try:
        options = CalibrationOptions.parse(prompts, steps, size, guidance)
    except OptionError as error:
        fail(str(error))
    raise typer.Exit(calibrate_teacache(model, options, out, traces, settings, replace=replace))


def calibrate_teacache(
    model: str,
    options: "CalibrationOptions",
    out: Path | None,
    traces: Path | None,
    settings: "Settings",
    *,
    replace: bool = False,
) -> int:
    """Measure, fit and write. Returns the exit status: 0 written, 1 not good enough, 2 impossible, 130 interrupted."""
    from accel.cache.profile import write_profile
    from accel.calibration.fit import CalibrationError
    from accel.calibration.traces import write_traces
    from ownware.calibration import find_gaps, fit_profile, load_prompts, record_traces
    from ownware.local_models import LocalModels
    from ownware.options import OptionError
    from pipelines.catalog.models_file import CatalogError
    from pipelines.catalog.profiles import profile_file

    try:
        models = LocalModels.find(settings)
        entry = models.entry("--model", model)
        texts = load_prompts(options.prompts, entry)
        options = options.resolved(entry)
        out = out or settings.profiles / profile_file(entry)
        for path in filter(None, (out, traces)):  # before hours of rendering
            _check_writable(path)
        if not replace:
            _keep_better(out, options, entry, texts, models.device)
    except (CalibrationError, CatalogError, OptionError, OSError, UnicodeDecodeError) as error:
        print_message(str(error))
        return IMPOSSIBLE
    print_messages(f"measured on less than the model is used for: {gap}" for gap in find_gaps(options, entry, texts))
    partial = out.with_suffix(".partial.jsonl")
    try:
        header, recorded = record_traces(options, entry, texts, models, partial)
        if traces is not None:
            write_traces(traces, header, recorded)
            typer.echo(f"{traces}: traces of {len(recorded)} images")
    except (CalibrationError, OSError) as error:
        print_message(str(error))
        return IMPOSSIBLE
    except KeyboardInterrupt:
        print_message(f"interrupted; {partial} keeps the images so far, and the same command resumes")
        return INTERRUPTED
    try:
        profile, qualities = fit_profile(options, entry, texts, header, recorded)
    except CalibrationError as error:
        print_message(f"no profile is written: {error}. {partial} keeps the images: add prompts at the end of the file")
        return NOT_GOOD_ENOUGH
    for quality in qualities:
        typer.echo(quality)
    write_profile(out, profile)
    partial.unlink(missing_ok=True)
    typer.echo(f"{out}: recipe {header.recipe.digest[:12]}; a server reads it when it starts")
    return DONE


def _keep_better(
    out: Path, options: "CalibrationOptions", entry: "ModelEntry", prompts: "Sequence[Prompt]", device: str
) -> None:
    """Raise `CalibrationError` when the file has a profile of the same weights that was measured on more."""
    from accel.cache.profile import ProfileError, read_profile
    from accel.calibration.fit import CalibrationError
    from ownware.calibration import compare_with, rendering_dtype

    if not out.exists():
        return
    try:
        existing = read_profile(out)
    except ProfileError:  # damaged: anything is better
        return
    if lacking := compare_with(existing, options, entry, prompts, rendering_dtype(device)):
        raise CalibrationError(
            f"{out} was measured on more: {'; '.join(lacking)}. Measure that too, name another file with --out, or "
            f"give --replace"
        )


def _check_writable(path: Path) -> None:
    """Raise `OSError` when a file cannot be written. An empty file left behind would be a damaged profile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    existed = path.exists()
    path.open("ab").close()
    if not existed:
        path.unlink()
