"""`ownware serve`: its options and its exit status. `tests/test_wheel.py` runs a server from its start to its end."""

import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from ownware.cli import app


def test_the_settings_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []

    def run(settings: Any) -> int:
        served.append(settings)
        return 3

    monkeypatch.setattr("server.run.serve", run)
    done = CliRunner().invoke(app, ["serve", "--port", "9001", "--weights", "embedded"])
    assert done.exit_code == 3
    assert (served[0].port, served[0].weights) == (9001, "embedded")


def test_the_settings_print_their_own_help() -> None:
    done = CliRunner().invoke(app, ["serve", "--help"])
    assert done.exit_code == 0
    assert "--allow-private-urls" in done.output


def test_a_mistake_ends_with_a_plain_message() -> None:
    command = [sys.executable, "-m", "ownware", "serve", "--models", "/nowhere/models.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ownware: /nowhere/models.toml: ")
    assert done.stderr.count("\n") == 1
