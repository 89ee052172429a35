"""The command, as a user runs it."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx2
import pytest

from tests.live import live_server

TASK = {"taskType": "imageInference", "model": "runware:108@1", "positivePrompt": "a", "width": 512, "height": 512}


def ownware(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ownware", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **variables}
    )


def test_help_lists_the_commands_and_the_options() -> None:
    assert "serve" in ownware("--help").stdout
    assert "--allow-private-urls" in ownware("serve", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["serve"], {"OWNWARE_PROT": "1"}, "ownware: OWNWARE_PROT is no option of ownware; did you mean OWNWARE_PORT?"),
        (["serve", "--port", "x"], {}, "ownware: OWNWARE_PORT or --port: "),
        (["serve", "--prot", "1"], {}, "unrecognized arguments: --prot"),
        (["serve", "--models", "/nowhere/models.toml"], {}, "ownware: /nowhere/models.toml: "),
        (["serve", "--data-dir", "/dev/null/x"], {}, "ownware: the data folder /dev/null/x cannot be used: "),
    ],
)
def test_mistakes_end_with_a_plain_message(arguments: list[str], variables: dict[str, str], message: str) -> None:
    done = ownware(*arguments, **variables)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_corrupt_profile_ends_the_start_naming_file_and_field(tmp_path: Path) -> None:
    (tmp_path / "embedded.toml").write_text("format = 1\nfactor = 'much'\n")
    done = ownware(
        "serve", "--data-dir", str(tmp_path / "data"), "--weights", "embedded", "--profile-dir", str(tmp_path)
    )
    assert done.returncode == 2
    assert f"ownware: {tmp_path / 'embedded.toml'}: source: " in done.stderr
    assert "; factor: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_weights_that_are_not_there_end_the_start(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    row = {"air": "runware:108@1", "name": "a", "version": "1", "architecture": "qwen_image", "mode": "text_to_image"}
    lines = [f'{key} = "{value}"' for key, value in {**row, "weights": str(tmp_path / "nothing")}.items()]
    models.write_text("\n".join(["[[models]]", *lines, "steps = 20", "true_cfg_scale = 4.0"]))
    flags = ["--models", str(models), "--port", "0", "--data-dir", str(tmp_path / "data"), "--devices", "cpu"]
    done = ownware("serve", *flags)
    assert done.returncode == 1
    assert "no worker can start" in done.stderr
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
        for _ in range(200):
            if httpx2.post(server.api, json=[asking]).json()["data"][0].get("progress"):
                break
            time.sleep(0.05)
        started = time.monotonic()
        for _ in range(2):  # people press it twice
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert server.process.wait(15) == 0
        assert "Traceback" not in server.errors()
        assert "any API key is accepted" in server.errors()
        assert time.monotonic() - started < 10
