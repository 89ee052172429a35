"""The command as a whole: its help, its version, and how little it imports."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ownware import __version__
from ownware.cli import app

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "fastapi", "uvicorn", "pydantic")


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_help_lists_the_commands(arguments: list[str]) -> None:
    help_text = CliRunner().invoke(app, arguments).output
    assert all(f" {name} " in help_text for name in ("serve", "replay", "simulate", "calibrate", "bench"))


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"ownware {__version__}\n"


def test_the_command_imports_nothing_heavy_before_it_runs() -> None:
    code = f"import sys, ownware.cli; print(sorted(set({HEAVY}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
