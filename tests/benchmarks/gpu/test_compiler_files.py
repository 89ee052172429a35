import os
from pathlib import Path

import pytest

from benchmarks.gpu.compiler_files import compiler_files
from pipelines.models.loading.compiling import FOLDER_VARIABLE


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "")  # so that the end of the test restores it
    monkeypatch.delenv(FOLDER_VARIABLE)


@pytest.mark.parametrize("keep", [False, True])
def test_a_run_begins_without_files_unless_it_goes_on_and_leaves_none(tmp_path: Path, keep: bool) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir()
    (folder / "old").touch()
    with compiler_files(folder, keep=keep):
        assert os.environ[FOLDER_VARIABLE] == str(folder)
        assert (folder / "old").exists() == keep
    assert not folder.exists()
    assert FOLDER_VARIABLE not in os.environ


def test_a_folder_of_the_user_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "old").touch()
    with compiler_files(tmp_path / "compiled"):
        assert os.environ[FOLDER_VARIABLE] == str(tmp_path)
    assert (tmp_path / "old").exists()
