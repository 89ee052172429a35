"""`ownware bench report`: write the report of the results of `ownware bench caches`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ownware.console import fail, print_message

if TYPE_CHECKING:
    from benchmarks.step_caches.reports.summary import Group

FOLDER = Path("step-caches")
RESULTS = "results.jsonl"
IMAGES = "pictures"

Out = Annotated[Path, typer.Option(help="Folder of the report, its plots and images.")]
Results = Annotated[
    Path | None, typer.Option(help="The JSON lines; default: results.jsonl in the report's folder.", show_default=False)
]


def report(
    out: Out = FOLDER,
    results: Results = None,
    readme: Annotated[Path | None, typer.Option(help="A page with markers for the newest table.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to write the newest plot of speed and similarity.")] = None,
) -> None:
    """Write the report of the measured results."""
    write_reports(out, results_path(out, results), readme, plot)


def write_reports(out: Path, results: Path, readme: Path | None = None, plot: Path | None = None) -> None:
    """Write the report, and the newest group's table and plot to other files. A failure ends the command."""
    from benchmarks.step_caches.reports.markdown import PageError, insert_table, table
    from benchmarks.step_caches.results import ResultsError
    from ownware.cache_benchmark import BenchError, check_packages

    try:
        check_packages()
        groups = read_groups(results)
        from benchmarks.step_caches.reports.report import save_front, write_report

        page = write_report(groups, out / IMAGES, out)
        if readme is not None:
            insert_table(readme, table(groups[-1]))
        if plot is not None:
            save_front(groups[-1], plot)
    except PageError as error:
        fail(f"--readme: {error}")
    except (BenchError, ResultsError, OSError) as error:
        fail(str(error))
    for group in groups:
        if group.noisy:
            print_message(f"{group.setup.model}, {group.steps} steps: {group.noise_advice}")
    print_message(str(page))


def results_path(out: Path, results: Path | None) -> Path:
    """The path of the JSON lines."""
    return results or out / RESULTS


def read_groups(path: Path) -> "list[Group]":
    """The groups of a results file. Raises `ResultsError`, and `BenchError` when it is empty."""
    from benchmarks.step_caches.reports.summary import group_measurements
    from benchmarks.step_caches.results import read_results
    from ownware.cache_benchmark import BenchError

    groups = group_measurements(read_results(path))
    if not groups:
        raise BenchError(f"--results: {path} is empty")
    return groups
