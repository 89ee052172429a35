from pathlib import Path

import pytest
from typer.testing import CliRunner

from ownware.cli import app
from pipelines.catalog.models_file import load_catalog


def add(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", "add", *arguments])
    return done.exit_code, done.output


def test_rows_of_every_kind(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    models = ["--models", str(file)]
    assert add("my:1@1", "embedded", *models, "--slug", "mine", "--steps", "8", "--mode", "edit") == (
        0,
        f"{file}: my:1@1 is added\n",
    )
    options = ["--transformer", "city96/Qwen-Image-gguf/q4.gguf", "--name", "Small"]
    options += ["--text-encoder", "owner/q4/text.gguf", "--text-encoder-mmproj", "owner/q4/mmproj.gguf"]
    assert add("my:2@1", "Qwen/Qwen-Image", *models, *options)[0] == 0
    assert add("my:3@1", "owner/style/ink.safetensors", *models, "--kind", "lora")[0] == 0
    assert add("my:4@1", "owner/net", *models, "--kind", "controlnet")[0] == 0
    catalog = load_catalog(file)
    first, second = catalog.entries
    assert (first.slugs, first.steps, first.mode, first.architecture) == (("mine",), 8, "edit", "qwen_image_edit")
    assert (second.name, second.transformer) == ("Small", "city96/Qwen-Image-gguf/q4.gguf")
    assert (second.text_encoder, second.text_encoder_mmproj) == ("owner/q4/text.gguf", "owner/q4/mmproj.gguf")
    assert catalog.find_lora("my:3@1")
    assert catalog.find_controlnet("my:4@1")


def test_the_built_in_file_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OWNWARE_MODELS", raising=False)
    code, told = add("my:1@1", "embedded")
    assert code == 2
    assert "name your models file with --models FILE" in told


def test_a_wrong_row(tmp_path: Path) -> None:
    code, told = add("my:1@1", "./nowhere", "--models", str(tmp_path / "models.toml"))
    assert (code, "there is no folder" in told) == (2, True)
    assert list(tmp_path.iterdir()) == []
