"""`ownware bench caches`: measure step caches on this machine, then write the report."""

from pathlib import Path
from typing import Annotated

import typer

from ownware.commands.bench.report import FOLDER, IMAGES, Out, Results, results_path, write_reports
from ownware.console import fail, print_message, print_messages
from ownware.server_options import read_settings

INTERRUPTED = 130


def caches(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="AIR identifier or slug; default: the first in the catalogue.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="Prompts: TOML, or a text file with one a line.")] = None,
    settings: Annotated[
        Path | None, typer.Option(help="Settings to measure, as TOML; default: those built in.")
    ] = None,
    steps: Annotated[str | None, typer.Option(help="Such as 20,28,50; default: the model's.")] = None,
    seeds: Annotated[str, typer.Option(help="Such as 1,2.")] = "1",
    size: Annotated[str | None, typer.Option(help="Pixels, such as 1024 or 1328x800.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Renders of each image, each with its baseline.")] = 1,
    out: Out = FOLDER,
    results: Results = None,
) -> None:
    """Measure step caches, resuming an interrupted run; takes the model options of `serve` too."""
    server_settings = read_settings(context.args)
    from accel.cache.profile import ProfileError
    from benchmarks.step_caches.prompts import PromptsError
    from benchmarks.step_caches.results import ResultsError, ResultsFile
    from benchmarks.step_caches.variants import SettingsError
    from ownware.cache_benchmark import BenchError, BenchmarkOptions, check_packages, plan_benchmark, run_benchmark
    from ownware.options import OptionError
    from pipelines.catalog.models_file import CatalogError
    from pipelines.errors import RenderError

    options = BenchmarkOptions(model, prompts, settings, steps, seeds, size)
    path = results_path(out, results)
    try:
        check_packages()
        benchmark = plan_benchmark(options, server_settings)
        file = ResultsFile(path)
        print_messages(benchmark.notes)
        new = run_benchmark(benchmark, file, out / IMAGES, repeats)
    except (
        BenchError,
        CatalogError,
        RenderError,
        OptionError,
        ProfileError,
        PromptsError,
        ResultsError,
        SettingsError,
        OSError,
    ) as error:
        fail(str(error))
    except KeyboardInterrupt:
        print_message(f"interrupted; {path} keeps the results so far, and the same command resumes")
        raise typer.Exit(INTERRUPTED) from None
    print_message(f"{len(benchmark.samples)} results, {new} of them new, in {path}")
    write_reports(out, path)
