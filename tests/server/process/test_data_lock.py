import os
from pathlib import Path

import pytest

from server.process.data_lock import NAME, DataFolderInUse, lock_data_folder, lock_holder


def test_one_server_holds_a_folder_until_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    for _ in range(2):
        with lock_data_folder(folder):
            with pytest.raises(DataFolderInUse, match=f"process {os.getpid()}"), lock_data_folder(folder):
                pass
            assert [path.name for path in folder.iterdir()] == [NAME]


def test_another_folder_is_free(tmp_path: Path) -> None:
    with lock_data_folder(tmp_path / "a"), lock_data_folder(tmp_path / "b"):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), lock_data_folder(tmp_path / "file" / "data"):
        pass


def test_who_holds_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert lock_holder(folder) is None
    assert not folder.exists()
    with lock_data_folder(folder):
        assert lock_holder(folder) == f"process {os.getpid()}"
    assert lock_holder(folder) is None
