"""WaveSpeed's own clients, each in an environment of its own; `make test-clients` sets those up."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.scripts import HERE, ROOT, output_of, run
from tests.live import API_KEY, LiveServer

COMMAND_LINE = HERE / "node_modules" / "@wavespeed" / "cli" / "dist" / "cli.js"
DRAW = "wavespeed-ai/qwen-image/text-to-image"

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("environment", [".venv-wavespeed", ".venv-wavespeed-legacy"])
def test_the_python_sdks(live: LiveServer, photo: Path, environment: str) -> None:
    python = ROOT / environment / "bin" / "python"
    found = run(python, HERE / "wavespeed_python.py", live.url, API_KEY, photo)
    assert found["text_to_image"] == found["sync_mode"] == found["sync_in_the_input"] == ["image/jpeg"]
    assert found["edit_of_an_upload"] == found["edit_of_a_stream"] == ["image/png"]
    assert found["base64"] == "data:image/jpeg;base64"
    assert "HTTP 400" in found["bad_parameter"]
    assert "'size'" in found["bad_parameter"]
    assert "Prediction failed" in found["bad_picture"]
    assert "'image'" in found["bad_picture"]
    assert "HTTP 404" in found["bad_model"]
    assert "HTTP 401" in found["bad_key"]


def test_the_javascript_sdk(live: LiveServer, photo: Path) -> None:
    found = run("node", HERE / "wavespeed_js.mjs", live.url, API_KEY, photo)
    assert found["text_to_image"] == found["sync_mode"] == found["edit_of_an_upload"] == ["image/jpeg"]
    assert "HTTP 400" in found["bad_parameter"]
    assert "'image'" in found["bad_picture"]
    assert "HTTP 401" in found["bad_key"]


def test_the_requests_of_the_ai_sdk_provider(live: LiveServer, photo: Path) -> None:
    found = run("node", HERE / "wavespeed_ai_sdk.mjs", live.url, API_KEY, photo)
    assert found["text_to_image"] == found["edit"] == found["edit_of_two"] == found["base64"] == ["image/jpeg"]
    assert found["aspect"] == ["image/png"]
    assert "'size'" in found["bad_parameter"]
    assert "[invalidSize]" in found["bad_parameter"]
    assert "'image'" in found["bad_picture"]
    assert "[modelNotFound]" in found["bad_model"]
    assert "[invalidApiKey]" in found["bad_key"]


def test_the_command_line(live: LiveServer, photo: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = home / ".config" / "wavespeed-nodejs" / "config.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"baseUrl": live.url}), encoding="utf-8")

    def wavespeed(*words: object) -> Any:
        places = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "WAVESPEED_API_KEY": API_KEY}
        return json.loads(output_of("node", COMMAND_LINE, *words, "--json", **places))

    assert DRAW in [model["model_id"] for model in wavespeed("models", "--no-cache")]
    assert wavespeed("schema", DRAW)["required"] == ["prompt"]
    assert wavespeed("balance")["balance"] == 0
    assert wavespeed("price", DRAW, "-p", "a red circle")["unit_price"] == 0
    url = wavespeed("upload", photo)["url"]
    drawn = wavespeed("run", DRAW, "-p", "a red circle", "-i", "size=128*128", "num_inference_steps=4", "--sync")
    assert drawn["outputs"][0].startswith(live.url)
    edited = wavespeed("run", "wavespeed-ai/qwen-image/edit", "-p", "make it blue", "-i", f"image={url}")
    assert edited["outputs"][0].startswith(live.url)
    item = wavespeed("history", "--model", DRAW)["items"][0]
    assert (item["status"], item["inputs"]["prompt"]) == ("completed", "a red circle")
    assert wavespeed("show", item["id"])["outputs"] == drawn["outputs"]
    assert wavespeed("delete", item["id"], "-y")["deleted"] == [item["id"]]
