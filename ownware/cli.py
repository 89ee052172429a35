"""The command `ownware`: collects the subcommands, whose declarations are in `ownware.commands`.

Imports no torch and no web server: a subcommand imports what it needs when it runs.
"""

from typing import Annotated

import typer

from ownware.batch.tasks.flag_options import WIRE_SPELLING
from ownware.commands import calibrate, keys
from ownware.commands.bench import app as bench
from ownware.commands.doctor import doctor
from ownware.commands.edit import edit
from ownware.commands.generate import generate
from ownware.commands.models import app as models
from ownware.commands.receipt import receipt
from ownware.commands.replay import replay
from ownware.commands.serve import serve
from ownware.commands.simulate import simulate
from ownware.server_options import PASS_THROUGH

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ownware import __version__

        typer.echo(f"ownware {__version__}")
        raise typer.Exit


@app.callback()
def ownware(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A self-hosted inference server for Qwen-Image that speaks Runware's API."""


# `serve` has no help of its own: its settings print theirs.
app.command(add_help_option=False, context_settings=PASS_THROUGH["context_settings"] | {"help_option_names": []})(serve)
app.command(**WIRE_SPELLING)(generate)
app.command(**WIRE_SPELLING)(edit)
app.command()(receipt)
app.command(**PASS_THROUGH)(replay)
app.command(**PASS_THROUGH)(doctor)
app.command()(simulate)
app.add_typer(calibrate.app, name="calibrate")
app.add_typer(bench.app, name="bench")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Entry point of the `ownware` command."""
    app()
