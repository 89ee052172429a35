from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from ownware.cli import app
from tests.ownware.commands.models.test_list import ROWS


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "models.toml").write_text(ROWS)
    return str(tmp_path / "models.toml")


def check(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", "check", *arguments])
    return done.exit_code, done.output


def test_a_line_for_each_row(models: str) -> None:
    code, told = check("--models", models)
    first, second, *_ = told.splitlines()
    assert code == 0
    assert first.startswith("mine:1@1: transformer folder BF16 ")
    assert second.startswith("hub:1@1: not here: owner/style/ink.safetensors is not wholly here")


def test_a_named_row_that_is_not_here_is_a_negative_result(models: str) -> None:
    assert check("hub:1@1", "--models", models)[0] == 1
    assert check("mine", "--models", models)[0] == 0


def test_an_unknown_name(models: str) -> None:
    code, told = check("mime", "--models", models)
    assert (code, told.strip()) == (2, "ownware: 'mime' is not in the models file; the nearest is 'mine'")
