"""`ownware serve`, as a user runs it."""

import contextlib
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from ownware.cli import app
from tests.live import live_server

TASK = {"taskType": "imageInference", "model": "runware:108@1", "positivePrompt": "a", "width": 512, "height": 512}


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ownware", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "/nowhere/models.toml"], "ownware: /nowhere/models.toml: "),
        pytest.param(
            ["--data-dir", "/dev/null/x"],
            "ownware: the data folder /dev/null/x cannot be used: ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_mistakes_end_with_a_plain_message(arguments: list[str], message: str) -> None:
    done = serve(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_corrupt_profile_ends_the_start_naming_file_and_field(tmp_path: Path) -> None:
    (tmp_path / "embedded.toml").write_text("format = 1\nfactor = 'much'\n")
    done = serve("--data-dir", str(tmp_path / "data"), "--weights", "embedded", "--profile-dir", str(tmp_path))
    assert done.returncode == 2
    assert f"ownware: {tmp_path / 'embedded.toml'}: source: " in done.stderr
    assert "; factor: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "code", "said"),
    [
        ((), 2, "there is no folder"),
        (("transformer", "vae", "text_encoder", "tokenizer", "scheduler"), 2, "there is no config.json"),
    ],
)
def test_weights_that_are_not_there_end_the_start(parts: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    for part in parts:
        (tmp_path / "nothing" / part).mkdir(parents=True)
    models = tmp_path / "models.toml"
    row = {"air": "runware:108@1", "name": "a", "version": "1", "architecture": "qwen_image", "mode": "text_to_image"}
    lines = [f'{key} = "{value}"' for key, value in {**row, "weights": str(tmp_path / "nothing")}.items()]
    models.write_text("\n".join(["[[models]]", *lines, "steps = 20", "true_cfg_scale = 4.0"]))
    flags = ["--models", str(models), "--port", "0", "--data-dir", str(tmp_path / "data"), "--devices", "cpu"]
    done = serve(*flags)
    assert done.returncode == code
    assert said in done.stderr
    assert "nothing" in done.stderr


@pytest.mark.slow
def test_the_greeting_and_its_curl_line_and_ctrl_c_in_the_middle_of_a_render(tmp_path: Path) -> None:
    with live_server(tmp_path / "data") as server:
        for told in ("runware:108@1", "runware:108@20", "runware:108@22", "embedded", "cpu", "any key is accepted"):
            assert told in server.greeting
        found = re.search(r"curl -s.*", server.greeting)
        assert found is not None
        done = subprocess.run(found.group(), shell=True, capture_output=True, text=True, timeout=60, check=True)
        assert '"imageURL"' in done.stdout

        task = {**TASK, "taskUUID": str(uuid.uuid4()), "steps": 50, "numberResults": 20, "deliveryMethod": "async"}
        assert httpx2.post(server.api, json=[task]).status_code == 200
        asking = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
        while not httpx2.post(server.api, json=[asking]).json()["data"][0].get("progress"):
            pass
        server.process.send_signal(signal.SIGINT)
        with contextlib.suppress(httpx2.TransportError):
            while True:  # until it takes no more connections
                httpx2.get(server.url)
        server.process.send_signal(signal.SIGINT)  # people press it twice
        assert server.process.wait(60) == 0  # the whole task would take minutes
        assert "Traceback" not in server.errors()
        assert "any API key is accepted" in server.errors()
