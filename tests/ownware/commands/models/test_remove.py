from pathlib import Path

import pytest
from typer.testing import CliRunner

from ownware.cli import app
from pipelines.catalog.hub.cache import repository_folder
from pipelines.catalog.hub.download import fetch_folder
from tests.hub import FakeHub
from tests.pipelines.catalog.hub.conftest import hub
from tests.pipelines.catalog.hub.sample import NAME

__all__ = ["hub"]


def remove(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", "remove", *arguments])
    return done.exit_code, done.output


def test_it_deletes_with_yes_and_then_there_is_nothing(hub: FakeHub) -> None:
    fetch_folder(NAME)
    code, told = remove(NAME)
    assert (code, "nothing is deleted: --yes deletes without asking" in told) == (2, True)
    assert repository_folder(NAME).is_dir()
    code, told = remove(NAME, "--yes")
    assert (code, told) == (0, f"{NAME}: 6.0 MB in 8 files\n")
    assert not repository_folder(NAME).exists()
    code, told = remove(NAME, "--yes")
    assert (code, "there is nothing to delete" in told) == (0, True)


def test_an_unknown_name(tmp_path: Path) -> None:
    code, told = remove("qwen-imagine")
    assert (code, "the nearest is 'qwen-image'" in told) == (2, True)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_it_asks_on_a_terminal(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    fetch_folder(NAME)
    monkeypatch.setattr("ownware.commands.models.remove.is_terminal", lambda: True)
    done = CliRunner().invoke(app, ["models", "remove", NAME], input=answer)
    assert "Delete them?" in done.output
    assert done.exit_code == code
    assert repository_folder(NAME).exists() == bool(code)
