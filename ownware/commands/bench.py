"""`ownware bench`: measure step caches on this machine, show what was found, and say which setting to use.

Finds models and devices as the server does and hands over to `benchmarks`, which only these commands need.
"""

import importlib.util
import json
from functools import partial
from pathlib import Path

import typer

from accel.cache.profile import ProfileError
from benchmarks.step_caches.prompts import PromptsError, default_prompts, load_prompts
from benchmarks.step_caches.recommend import Constraints, Recommendation
from benchmarks.step_caches.recommend import recommend as recommend_setting
from benchmarks.step_caches.results import Measurement, ResultsError, ResultsFile, read_results
from benchmarks.step_caches.summary import Group, Row, group_measurements
from benchmarks.step_caches.variants import DEFAULT as DEFAULT_SETTINGS
from benchmarks.step_caches.variants import SettingsError, load_settings, make_variants
from pipelines.catalog.catalog import CatalogError
from pipelines.catalog.profiles import CalibrationKey, Profiles
from pipelines.errors import LoadError
from pipelines.limits import MAX_SEED, MAX_SIDE, MAX_STEPS, MIN_SIDE, SIDE_MULTIPLE
from server.devices import find_devices
from server.run import choose_catalog
from server.settings import Settings

DONE, NONE_HOLDS, IMPOSSIBLE = 0, 1, 2
PICTURES = "pictures"
EMBEDDED_SIDE, SIDE = 256, 1024  # pixels, unless a size is asked for
_NEEDED = ("skimage", "flip_evaluator", "matplotlib", "jinja2")
_EXTRA = "pip install 'ownware[benchmark]'"


class BenchError(ValueError):
    """A command cannot do what it was asked for; the message names the option."""


def caches(
    settings: Settings,
    *,
    out: Path,
    results: Path | None,
    model: str | None,
    prompts: Path | None,
    cases: Path | None,
    steps: str | None,
    seeds: str,
    size: str | None,
    repeats: int,
) -> int:
    """Measure what the results file does not have, then write the report. Returns the exit status."""
    results = results or out / "results.jsonl"
    try:
        _expect_extra()
        device = find_devices(settings.devices)[0]
        catalog = choose_catalog(settings, (device,))
        entry = catalog.find(model) if model is not None else catalog.entries[0]
        if entry is None:
            served = ", ".join(row.air for row in catalog.entries)
            raise BenchError(f"--model: '{model}' is not in the catalogue; there are {served}")
        texts = load_prompts(prompts, entry) if prompts is not None else default_prompts(entry)
        counts = _numbers("--steps", steps, 1, MAX_STEPS) if steps is not None else [entry.steps]
        width, height = _size(size) if size else (EMBEDDED_SIDE if entry.embedded else SIDE,) * 2
        ways = load_settings(cases or DEFAULT_SETTINGS)
        profiles = Profiles(catalog, settings.profiles)
        area = entry.native_area or width * height
        variants = {
            count: make_variants(
                ways,
                entry,
                count,
                settings.threshold_direction,
                partial(profiles.choose, entry, CalibrationKey(count, entry.true_cfg_scale > 1, area)),
            )
            for count in counts
        }
        numbers = _numbers("--seeds", seeds, 0, MAX_SEED)
        file = ResultsFile(results)
    except (BenchError, CatalogError, ProfileError, PromptsError, SettingsError, ResultsError, OSError) as error:
        typer.echo(f"ownware: {error}", err=True)
        return IMPOSSIBLE
    for _, left_out in variants.values():
        for said in left_out:
            typer.echo(f"ownware: not measured: {said}", err=True)
    # torch and the models take seconds, and only from here on are they needed.
    from benchmarks.step_caches.measure import Measurer
    from benchmarks.step_caches.ocr import Reader, ocr_available
    from benchmarks.step_caches.runner import make_samples, run
    from pipelines.models.loader import ModelCache

    reader = Reader() if ocr_available() and any(prompt.words for prompt in texts) else None
    if not ocr_available():
        typer.echo(f"ownware: no words are read, for lack of rapidocr: {_EXTRA}", err=True)
    try:
        checkpoint = ModelCache(device).get(entry)
    except LoadError as error:
        typer.echo(f"ownware: {error}", err=True)
        return IMPOSSIBLE
    measurer = Measurer(checkpoint, entry, width, height, reader)
    samples = make_samples({count: found for count, (found, _) in variants.items()}, texts, numbers)
    try:
        new = run(measurer, samples, file, out / PICTURES, repeats)
    except KeyboardInterrupt:
        typer.echo(f"\nownware: stopped; {results} has what was measured, and the same command goes on", err=True)
        return 130
    typer.echo(f"ownware: {len(samples)} results, {new} of them new, in {results}", err=True)
    return report(out=out, results=results, readme=None, plot=None)


def report(*, out: Path, results: Path | None, readme: Path | None, plot: Path | None) -> int:
    """Write the report, and if asked for the table of the newest group into a page. Returns the exit status."""
    try:
        _expect_extra()
        groups = group_measurements(_read(results or out / "results.jsonl"))
        from benchmarks.step_caches.markdown import PageError, insert_table, table
        from benchmarks.step_caches.report import save_front, write_report

        page = write_report(groups, out / PICTURES, out)
        try:
            if readme is not None:
                insert_table(readme, table(groups[-1]))
            if plot is not None:
                save_front(groups[-1], plot)
        except PageError as error:
            raise BenchError(f"--readme: {error}") from error
    except (BenchError, ResultsError, OSError) as error:
        typer.echo(f"ownware: {error}", err=True)
        return IMPOSSIBLE
    typer.echo(f"ownware: {page}", err=True)
    return DONE


def recommend(
    *,
    results: Path,
    bounds: dict[str, float | None],
    mean: bool,
    model: str | None,
    steps: int | None,
    size: str | None,
    device: str | None,
) -> int:
    """Print the wire's options of the fastest setting that holds; what there is to say of it goes to stderr.

    `bounds` are the fields of `Constraints`. Returns the exit status: 1 where none holds.
    """
    constraints = Constraints(**bounds, mean=mean)
    try:
        if all(bound is None for bound in bounds.values()):
            raise BenchError("say what must hold: --min-ssim, --min-psnr or --max-flip")
        group = _only(group_measurements(_read(results)), model, steps, _size(size) if size else None, device)
    except (BenchError, ResultsError) as error:
        typer.echo(f"ownware: {error}", err=True)
        return IMPOSSIBLE
    recommendation = recommend_setting(group, constraints)
    for line in _said(recommendation, group, constraints):
        typer.echo(f"ownware: {line}", err=True)
    if recommendation.setting is None:
        return NONE_HOLDS
    typer.echo(json.dumps({"acceleratorOptions": recommendation.setting.options}))
    return DONE


def _said(recommendation: Recommendation, group: Group, constraints: Constraints) -> list[str]:
    where = f"{group.setup.model}, {group.steps} steps, {group.cases} pictures"
    on = "on average" if constraints.mean else "on the worst picture"
    lines = []
    if recommendation.setting is None:
        lines.append(f"{where}: no setting holds {on}.")
        if recommendation.nearest is not None:
            nearest = recommendation.nearest
            value = nearest.ssim.mean if constraints.mean else nearest.ssim.worst
            lines.append(f"The nearest is {nearest.name}, with an SSIM of {value:.3f}.")
    else:
        ssim = recommendation.setting.ssim.worst
        lines.append(f"{where}: {_speed(recommendation.setting)}, SSIM {ssim:.3f} on the worst picture.")
    if recommendation.off_wire is not None:
        lines.append(f"The strategy {_speed(recommendation.off_wire)} holds too and is faster, but is not on the wire.")
    if recommendation.fewer_steps is not None and recommendation.fewer_steps_win:
        lines.append(f"Merely drawing {_speed(recommendation.fewer_steps)}, holds too and is at least as fast.")
    return lines


def _speed(row: Row) -> str:
    return f"{row.name}: {row.loop_speedup.mean:.2f}× in the loop, {row.request_speedup.mean:.2f}× in the whole request"


def _only(
    groups: list[Group], model: str | None, steps: int | None, size: tuple[int, int] | None, device: str | None
) -> Group:
    """The one group that is meant."""
    meant = [
        group
        for group in groups
        if model in (None, group.setup.model)
        and steps in (None, group.steps)
        and size in (None, (group.setup.width, group.setup.height))
        and device in (None, group.setup.device)
    ]
    if len(meant) == 1:
        return meant[0]
    found = "; ".join(
        f"--model {group.setup.model} --steps {group.steps} --size {group.setup.width}x{group.setup.height} "
        f"--device '{group.setup.device}'"
        for group in meant or groups
    )
    raise BenchError(f"{'which of these is meant' if meant else 'there are only results of'}: {found}")


def _read(path: Path) -> tuple[Measurement, ...]:
    found = read_results(path)
    if not found:
        raise BenchError(f"--results: {path} is empty")
    return found


def _expect_extra() -> None:
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise BenchError(f"{missing[0]} is not installed: {_EXTRA}")


def _numbers(option: str, text: str, least: int, most: int) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        raise BenchError(f"{option}: '{text}' is no list of whole numbers, such as 20,28") from None
    if wrong := [number for number in numbers if not least <= number <= most]:
        raise BenchError(f"{option}: {wrong[0]} is not from {least} to {most}")
    return list(dict.fromkeys(numbers))


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) > 2 or "," in text:
        raise BenchError(f"--size: '{text}' is no size in pixels, such as 1024 or 1328x800")
    sides = _numbers("--size", ",".join(parts * 2 if len(parts) == 1 else parts), MIN_SIDE, MAX_SIDE)
    if wrong := [side for side in sides if side % SIDE_MULTIPLE]:
        raise BenchError(f"--size: {wrong[0]} is no multiple of {SIDE_MULTIPLE}")
    return sides[0], sides[-1]
