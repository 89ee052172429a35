"""A full disk: how its errors are told from bugs, and how much room a folder has.

Knows paths and error numbers; knows no tasks.
"""

import errno
import shutil
import sqlite3
from pathlib import Path

from server.errors import ApiError, InsufficientStorage, InternalServerError

# A disk or a quota that is full, and one that the system has made read-only after an error of the device.
_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
# SQLite reports a full disk under its log of writes as an error of input and output.
_SQLITE_CODES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR})
_PRIMARY = 0xFF  # the other bits of an SQLite code say more about the same error
MILLION = 1_000_000
MESSAGE = "The server has no room to store this. Its operator must free space on the disk of the data folder."


def is_storage_error(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is about a disk that cannot be written."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _SQLITE_CODES:
            return True
        error = error.__cause__ or error.__context__
    return False


def unforeseen_error(error: BaseException, message: str = "Internal server error.") -> ApiError:
    """What a client is told about an error that no module has foreseen. Only a full disk is no bug."""
    return InsufficientStorage(MESSAGE) if is_storage_error(error) else InternalServerError(message)


class DiskSpace:
    """The room on the disk of a folder. Less than `least` bytes are too few to begin anything."""

    def __init__(self, folder: Path, least: int) -> None:
        self._folder = folder
        self._least = least

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored, in words; None if it can."""
        free = self._free()
        if free >= self._least:
            return None
        needed = f"{self._least / MILLION:.0f} MB are needed"
        return f"The disk of the data folder is full: {free / MILLION:.0f} MB are free, and {needed}."

    def check(self) -> None:
        """Raise `InsufficientStorage` if nothing can be stored."""
        if self.problem is not None:
            raise InsufficientStorage(MESSAGE)

    def _free(self) -> int:
        """The free bytes, before and after the folder is made."""
        folder = self._folder
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free
