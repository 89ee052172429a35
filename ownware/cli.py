"""The command `ownware`. Each subcommand reads its options and hands over; nothing is decided here."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import CliApp

from server.settings import PREFIX, Settings, unknown_variables

app = typer.Typer(
    help="A self-hosted inference server for Qwen-Image that speaks Runware's API.",
    no_args_is_help=True,
    add_completion=False,
)


# The options of `serve` are declared once, in Settings, so they are passed on unread.
@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def serve(context: typer.Context) -> None:
    """Start the server; `ownware serve --help` lists the options."""
    settings = read_settings(context.args)
    # Each worker process imports this module once more, before what it needs itself: keep the web server out.
    from server.run import serve as run_server

    raise typer.Exit(run_server(settings))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def replay(
    context: typer.Context,
    receipt: Annotated[str, typer.Argument(help="An image that carries one, a receipt as JSON, or - for stdin.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the image; default: replay.<extension>.")] = None,
    picture: Annotated[
        list[Path] | None, typer.Option(help="A picture the image started from, unless the data folder has it.")
    ] = None,
) -> None:
    """Draw an image again from its receipt, byte for byte; takes the model options of `serve` too."""
    settings = read_settings(context.args)
    from ownware.commands.replay import replay as run_replay

    raise typer.Exit(run_replay(receipt, out, picture or [], settings))


calibrate = typer.Typer(help="Measure what step caches need to know about a model.", no_args_is_help=True)
app.add_typer(calibrate, name="calibrate")


@calibrate.command("teacache", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def calibrate_teacache(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="AIR identifier or slug of the model to measure.")],
    prompts: Annotated[
        Path | None, typer.Option(help="One prompt a line; for models that edit: picture, tab, instruction.")
    ] = None,
    steps: Annotated[str, typer.Option(help="Numbers of steps, comma separated.")] = "20,28",
    size: Annotated[str, typer.Option(help="Pixels: a side, or width x height as in 1328x800.")] = "1024",
    guidance: Annotated[
        str | None, typer.Option(help="Scales, comma separated, such as 4,1; default: its own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The profile to write; default: the model's own in the profile folder.")
    ] = None,
    traces: Annotated[Path | None, typer.Option(help="Keep the traces here, for `ownware bench replay`.")] = None,
) -> None:
    """Fit TeaCache's figures to a model; takes the model options of `serve` too."""
    settings = read_settings(context.args)
    from accel.calibration.fit import CalibrationError
    from ownware.commands.calibrate import calibrate as run_calibration
    from ownware.commands.calibrate import read_wish

    try:
        wish = read_wish(model, prompts, steps, size, guidance, out, traces)
    except CalibrationError as error:
        _give_up([str(error)])
    raise typer.Exit(run_calibration(wish, settings))


bench = typer.Typer(help="Measure what step caches do on this machine, and choose one.", no_args_is_help=True)
app.add_typer(bench, name="bench")


Out = Annotated[Path, typer.Option(help="Folder of the report, its plots and pictures.")]
Results = Annotated[
    Path | None, typer.Option(help="The JSON lines; default: results.jsonl in the report's folder.", show_default=False)
]
BENCH_FOLDER = Path("step-caches")


@bench.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
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
    repeats: Annotated[int, typer.Option(min=1, help="How often each picture is drawn, its twin beside it.")] = 1,
    out: Out = BENCH_FOLDER,
    results: Results = None,
) -> None:
    """Measure step caches, going on where it was stopped; takes the model options of `serve` too."""
    server_settings = read_settings(context.args)
    from ownware.commands.bench import caches as run_caches

    status = run_caches(
        server_settings,
        out=out,
        results=results,
        model=model,
        prompts=prompts,
        cases=settings,
        steps=steps,
        seeds=seeds,
        size=size,
        repeats=repeats,
    )
    raise typer.Exit(status)


@bench.command()
def report(
    out: Out = BENCH_FOLDER,
    results: Results = None,
    readme: Annotated[Path | None, typer.Option(help="A page with markers to write the newest table to.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to write the newest plot of speed and likeness.")] = None,
) -> None:
    """Write the report of what was measured."""
    from ownware.commands.bench import report as write_report

    raise typer.Exit(write_report(out=out, results=results, readme=readme, plot=plot))


@bench.command()
def recommend(
    min_ssim: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    min_psnr: Annotated[float | None, typer.Option(min=0, help="In dB.")] = None,
    max_flip: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    mean: Annotated[bool, typer.Option(help="On average instead of on the worst picture.")] = False,
    model: Annotated[str | None, typer.Option(help="AIR identifier, where several were measured.")] = None,
    steps: Annotated[int | None, typer.Option(help="Where several were measured.")] = None,
    size: Annotated[str | None, typer.Option(help="Where several were measured, such as 1024.")] = None,
    device: Annotated[str | None, typer.Option(help="Where several were measured, as the results call it.")] = None,
    results: Annotated[Path, typer.Option(help="The JSON lines.")] = BENCH_FOLDER / "results.jsonl",
) -> None:
    """Print the acceleratorOptions of the fastest measured setting that keeps a likeness to the uncached picture."""
    from ownware.commands.bench import recommend as run_recommend

    bounds = {"min_ssim": min_ssim, "min_psnr": min_psnr, "max_flip": max_flip}
    place = {"model": model, "size": size, "device": device}
    raise typer.Exit(run_recommend(results=results, bounds=bounds, mean=mean, steps=steps, **place))


@bench.command("replay")
def bench_replay(
    trace: Annotated[Path, typer.Argument(help="A file of traces, from `ownware calibrate teacache --traces`.")],
    strategy: Annotated[str, typer.Option(help="fbcache, teacache or dbcache.")],
    threshold: Annotated[str, typer.Option(help="Comma separated; higher reuses more, as in every library.")],
    profile: Annotated[
        Path | None,
        typer.Option(help="TeaCache's figures; default: those of the trace's model here, or borrowed ones."),
    ] = None,
    start: Annotated[
        int | None, typer.Option(help="First step that may be reused, from 0; default: as served.")
    ] = None,
    end: Annotated[int | None, typer.Option(help="First step that may not be any more; default: as served.")] = None,
    max_run: Annotated[int, typer.Option(help="Steps that may be reused in a row, 1 to 5.")] = 3,
    each: Annotated[bool, typer.Option("--each", help="Show the pattern of every image.")] = False,
) -> None:
    """Predict what a step cache would decide, from a trace, without a model."""
    from ownware.commands.simulate import trace_replay

    raise typer.Exit(trace_replay(trace, strategy, threshold, profile, (start, end), max_run, each=each))


def read_settings(arguments: Sequence[str]) -> Settings:
    """Settings from flags, then variables, then defaults. Exits with status 2, saying why, when they are wrong."""
    if complaints := unknown_variables(os.environ):
        _give_up(complaints)
    try:
        return CliApp.run(Settings, cli_args=list(arguments))
    except ValidationError as error:
        _give_up([_complaint(str(finding["loc"][0]), finding["msg"]) for finding in error.errors()])


def _complaint(option: str, message: str) -> str:
    return f"{PREFIX}{option.upper()} or --{option.replace('_', '-')}: {message}"


def _give_up(complaints: Sequence[str]) -> NoReturn:
    for complaint in complaints:
        typer.echo(f"ownware: {complaint}", err=True)
    sys.exit(2)


def main() -> None:
    """Entry point of the `ownware` command."""
    app()
