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
    # Each renderer process imports this module once more, before what it needs itself: keep the web server out.
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
    from server.replay import replay as run_replay

    raise typer.Exit(run_replay(receipt, out, picture or [], settings))


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
