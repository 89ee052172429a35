import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from ownware.cli import app

ROWS = """
[[models]]
air = "mine:1@1"
slugs = ["mine"]
name = "Mine"
version = "1"
architecture = "qwen_image"
mode = "text_to_image"
weights = "embedded"
steps = 4
true_cfg_scale = 1.0

[[loras]]
air = "hub:1@1"
name = "Ink"
weights = "owner/style/ink.safetensors"
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "models.toml").write_text(ROWS)
    return str(tmp_path / "models.toml")


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", "list", *arguments])
    return done.exit_code, done.output


def test_a_line_for_each_row(models: str) -> None:
    code, told = run("--models", models)
    model, lora, *embedded = told.splitlines()
    assert code == 0
    assert model.split() == ["mine:1@1", "here", model.split()[2], "MB", "Mine", "(mine):", "embedded"]
    assert lora.split() == ["hub:1@1", "not", "here", "Ink:", "owner/style/ink.safetensors"]
    assert [line.split()[0] for line in embedded] == ["ownware:1@1", "ownware:3@1", "ownware:2@1"]


def test_json(models: str) -> None:
    model, lora, *_ = (json.loads(line) for line in run("--models", models, "--json")[1].splitlines())
    assert (model["kind"], model["state"], model["missing"]) == ("model", "here", [])
    assert model["bytes"] > 10**6
    assert lora == {
        "kind": "lora",
        "air": "hub:1@1",
        "slugs": [],
        "name": "Ink",
        "weights": ["owner/style/ink.safetensors"],
        "state": "not here",
        "missing": ["owner/style/ink.safetensors"],
        "bytes": 0,
    }


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    code, told = run("--models", str(tmp_path / "no.toml"))
    assert code == 2
    assert "no.toml" in told
