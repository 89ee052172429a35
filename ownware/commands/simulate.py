"""`ownware simulate`: predict the decisions of a step cache on recorded traces, one threshold after the other."""

import math
from pathlib import Path
from typing import Annotated

import typer

from ownware.console import fail


def simulate(
    trace: Annotated[Path, typer.Argument(help="A file of traces, from `ownware calibrate teacache --traces`.")],
    strategy: Annotated[str, typer.Option(help="fbcache, teacache or dbcache.")],
    threshold: Annotated[str, typer.Option(help="Comma separated; higher reuses more, as in every library.")],
    profile: Annotated[
        Path | None,
        typer.Option(help="TeaCache's profile; default: a shipped one of the trace's model, or a borrowed one."),
    ] = None,
    start: Annotated[
        int | None, typer.Option(help="First step that may be reused, from 0; default: as served.")
    ] = None,
    end: Annotated[int | None, typer.Option(help="First step after the window; default: as served.")] = None,
    max_run: Annotated[int, typer.Option(help="Consecutive steps that may be reused, 1 to 5.")] = 3,
    each: Annotated[bool, typer.Option("--each", help="Show the pattern of every image.")] = False,
) -> None:
    """Predict the decisions of a step cache from a trace, without a model."""
    from accel.cache.profile import ProfileError
    from accel.calibration.traces import TraceError, read_traces
    from ownware.options import OptionError, parse_numbers
    from ownware.simulation import make_simulations

    try:
        thresholds = parse_numbers("--threshold", threshold, 0, math.inf)
        header, traces = read_traces(trace)
        simulations = make_simulations(strategy, thresholds, profile, (start, end), max_run, header)
    except (TraceError, ProfileError, OptionError) as error:
        fail(str(error))
    for simulation in simulations:
        reports = [simulation.run(image) for image in traces]
        typer.echo(simulation.summary(reports))
        if each:
            for image, report in zip(traces, reports, strict=True):
                patterns = "  ".join(f"{branch} {pattern}" for branch, pattern in report.patterns.items())
                typer.echo(f"  {patterns}  {image.prompt}")
