import errno
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from server.errors import InsufficientStorage, InternalServerError
from server.storage import DiskSpace, is_storage_error, unforeseen_error


def sqlite_full(folder: Path) -> None:
    connection = sqlite3.connect(folder / "db")
    try:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    finally:
        connection.close()


def sqlite_locked(folder: Path) -> None:
    first, second = (sqlite3.connect(folder / "db", timeout=0, isolation_level=None) for _ in range(2))
    try:
        first.execute("BEGIN EXCLUSIVE")
        second.execute("BEGIN EXCLUSIVE")
    finally:
        first.close()
        second.close()


def disk_full(folder: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def hidden(folder: Path) -> None:
    try:
        disk_full(folder)
    except OSError as error:
        raise RuntimeError("writing failed") from error


def missing(folder: Path) -> None:
    (folder / "none").read_bytes()


@pytest.mark.parametrize(
    ("act", "full"), [(sqlite_full, True), (disk_full, True), (hidden, True), (sqlite_locked, False), (missing, False)]
)
def test_a_full_disk_is_told_from_other_errors(act: Callable[[Path], None], full: bool, tmp_path: Path) -> None:
    with pytest.raises((sqlite3.Error, OSError, RuntimeError)) as caught:
        act(tmp_path)
    assert is_storage_error(caught.value) == full
    told = unforeseen_error(caught.value)
    assert isinstance(told, InsufficientStorage if full else InternalServerError)
    assert told.status == (507 if full else 500)


def test_room_on_a_disk(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    DiskSpace(tmp_path / "later" / "folder", free // 2).check()
    space = DiskSpace(tmp_path, 1000 * free)
    assert space.problem is not None
    assert "is full" in space.problem
    with pytest.raises(InsufficientStorage):
        space.check()
