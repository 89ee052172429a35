"""Runs `ownware bench`, and the mistake that all commands with a model name alike."""

from pathlib import Path

from typer.testing import CliRunner, Result

from ownware.cli import app

# Arguments, and what the command says of them.
UNKNOWN_MODEL = (["--model", "x"], "--model: 'x' is not in the catalogue; there are runware:108@1, ")


def run_bench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])
