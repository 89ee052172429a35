"""`ownware bench recommend`: print the fastest measured way to render that meets constraints on similarity."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ownware.commands.bench.report import FOLDER, RESULTS, read_groups
from ownware.console import fail, print_messages

if TYPE_CHECKING:
    from benchmarks.step_caches.reports.recommend import Constraints, Recommendation
    from benchmarks.step_caches.reports.summary import Group, Row

NO_RECOMMENDATION = 1


def recommend(
    min_ssim: Annotated[float | None, typer.Option(min=0, max=1, help="At most 1, for equal images.")] = None,
    min_psnr: Annotated[float | None, typer.Option(min=0, help="In dB.")] = None,
    max_flip: Annotated[float | None, typer.Option(min=0, max=1, help="At least 0, for equal images.")] = None,
    mean: Annotated[bool, typer.Option(help="On average instead of on the worst image.")] = False,
    model: Annotated[str | None, typer.Option(help="AIR identifier, where several were measured.")] = None,
    steps: Annotated[int | None, typer.Option(help="Where several were measured.")] = None,
    size: Annotated[str | None, typer.Option(help="Where several were measured, such as 1024.")] = None,
    device: Annotated[str | None, typer.Option(help="Where several were measured, as the results name it.")] = None,
    results: Annotated[Path, typer.Option(help="The JSON lines.")] = FOLDER / RESULTS,
) -> None:
    """Print what a task has to ask for to be fastest and stay similar: acceleratorOptions, or fewer steps."""
    from benchmarks.step_caches.reports import recommend as recommendations
    from benchmarks.step_caches.results import ResultsError
    from ownware.cache_benchmark import BenchError
    from ownware.options import OptionError, parse_size

    constraints = recommendations.Constraints(min_ssim, min_psnr, max_flip, mean)
    if min_ssim is min_psnr is max_flip is None:
        fail("give at least one constraint: --min-ssim, --min-psnr or --max-flip")
    try:
        pixels = parse_size("--size", size) if size else None
        group = _choose_group(read_groups(results), model, steps, pixels, device)
    except (BenchError, OptionError, ResultsError) as error:
        fail(str(error))
    if max_flip is not None and all(row.flip is None for row in group.rows):
        fail("--max-flip: these results have no FLIP; use --min-ssim or --min-psnr")
    if group.noisy:
        print_messages([f"{_describe_group(group)}: no recommendation. {group.noise_advice}"])
        raise typer.Exit(NO_RECOMMENDATION)
    recommendation = recommendations.recommend(group, constraints)
    print_messages(_report_lines(recommendation, group, constraints))
    winner = recommendation.winner
    if winner is None:
        raise typer.Exit(NO_RECOMMENDATION)
    parameters = {"acceleratorOptions": winner.options} if winner.kind == "cache" else {"steps": winner.executed}
    typer.echo(json.dumps(parameters))


def _choose_group(
    groups: "Sequence[Group]", model: str | None, steps: int | None, size: tuple[int, int] | None, device: str | None
) -> "Group":
    """The only group of this model, number of steps, size and device. Raises `BenchError` unless there is one."""
    from ownware.cache_benchmark import BenchError

    matching = [
        group
        for group in groups
        if model in (None, group.setup.model)
        and steps in (None, group.steps)
        and size in (None, (group.setup.width, group.setup.height))
        and device in (None, group.setup.device)
    ]
    if len(matching) == 1:
        return matching[0]
    listed = "; ".join(
        f"--model {group.setup.model} --steps {group.steps} --size {group.setup.width}x{group.setup.height} "
        f"--device '{group.setup.device}'"
        for group in matching or groups
    )
    raise BenchError(f"{'several match, choose one' if matching else 'there are only results of'}: {listed}")


def _report_lines(recommendation: "Recommendation", group: "Group", constraints: "Constraints") -> Iterator[str]:
    where = _describe_group(group)
    statistic = "on average" if constraints.mean else "on the worst image"
    winner, runner_up, nearest = recommendation.winner, recommendation.runner_up, recommendation.nearest
    if winner is not None:
        yield f"{where}: {_speed(winner)}, SSIM {winner.ssim.worst:.3f} on the worst image."
    else:
        yield f"{where}: no setting meets the constraints {statistic}."
        if nearest is not None:
            value = nearest.ssim.mean if constraints.mean else nearest.ssim.worst
            yield f"The nearest is {nearest.name}, with an SSIM of {value:.3f}."
    if winner is not None and runner_up is not None:
        other = "The best cache is" if winner.kind == "fewer_steps" else "Without a cache, fewer steps reach"
        tie = "the clock cannot tell the two apart, and the more similar one is taken"
        apart = abs(winner.speedup.mean / runner_up.speedup.mean - 1) > group.noise
        yield f"{other} {_speed(runner_up)}{'' if apart else f'; {tie}'}."
    elif winner is not None and winner.kind == "fewer_steps":
        yield "These are fewer steps without a cache; no cache meets the constraints."
    if recommendation.off_wire is not None:
        what = "meets them" if winner is None else "is faster"
        yield f"The strategy {_speed(recommendation.off_wire)} {what}, but the API does not offer it."


def _describe_group(group: "Group") -> str:
    return f"{group.setup.model}, {group.steps} steps, {group.cases} images"


def _speed(row: "Row") -> str:
    loop = "" if row.loop_speedup is None else f"{row.loop_speedup.mean:.2f}× in the loop, "
    return f"{row.name}: {loop}{row.request_speedup.mean:.2f}× in the whole request"
