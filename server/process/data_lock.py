"""Keeps a data folder for one server: two would take each other's tasks.

The lock ends with the process that holds it, however that ends.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

NAME = "lock"


class DataFolderInUse(Exception):
    """Another server has the data folder. `process` is its id in words."""

    def __init__(self, process: str) -> None:
        super().__init__(process)
        self.process = process


def lock_holder(folder: Path) -> str | None:
    """The process that holds the data folder, in words. None if no other one does. Changes nothing."""
    try:
        with (folder / NAME).open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        return _process(folder)
    except OSError:
        return None


@contextlib.contextmanager
def lock_data_folder(folder: Path) -> Iterator[None]:
    """Hold the data folder. Raises `DataFolderInUse` at once when another process holds it, and `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataFolderInUse(_process(folder)) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _process(folder: Path) -> str:
    return f"process {(folder / NAME).read_text(encoding='utf-8').strip() or 'unknown'}"
