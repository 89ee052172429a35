import os
from pathlib import Path

import pytest

from benchmarks.gpu.compiler_files import VARIABLE, compiler_files


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")  # so that the end of the test restores it
    monkeypatch.delenv(VARIABLE)


@pytest.mark.parametrize("keep", [False, True])
def test_a_run_begins_without_files_unless_it_goes_on_and_leaves_none(tmp_path: Path, keep: bool) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir()
    (folder / "old").touch()
    with compiler_files(folder, keep=keep):
        assert os.environ[VARIABLE] == str(folder)
        assert (folder / "old").exists() == keep
    assert not folder.exists()
    assert VARIABLE not in os.environ


def test_a_folder_of_the_user_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "old").touch()
    with compiler_files(tmp_path / "compiled"):
        assert os.environ[VARIABLE] == str(tmp_path)
    assert (tmp_path / "old").exists()
