"""The manifest of an output folder: a line of JSON for each picture that was begun, finished or failed.

A line is on disk before the next picture begins, so a run that was killed goes on where it was. Knows no task.
"""

import glob
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from ownware.batch.item import BatchError

NAME = "ownware-manifest.jsonl"
State = Literal["started", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one picture. The latest entry of a `key` counts.

    `outputs` are names within the folder. `source` is the path of the picture before, `seconds` what it took.
    """

    key: str
    state: State
    where: str
    outputs: tuple[str, ...]
    seed: int
    source: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    reason: str | None = None


class Manifest:
    """The entries of one folder. Without a folder, nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / NAME
        self.entries: dict[str, Entry] = {}
        self.read()

    def read(self) -> None:
        """Read the entries again, in the order in which they began. Raises `BatchError`."""
        self.entries = {}
        if self._path is not None and self._path.exists():
            for entry in _read(self._path):
                self.entries[entry.key] = entry

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other commands out of the folder within this block. Raises `BatchError` when one is there.

        Raises it too when nothing can be written there. Mends the end of a file whose writer was killed.
        """
        if self._path is None:
            yield
            return
        folder = self._path.parent
        lock = FileLock(self._path.with_name(f".{NAME}.lock"))
        try:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(blocking=False)
                _cut_torn_line(self._path)
            except Timeout:
                raise BatchError(f"another command is writing into {folder}") from None
            except OSError as error:
                raise BatchError(f"nothing can be written into {folder}: {error.strerror}") from error
            yield
        finally:
            lock.release()

    def write(self, entry: Entry) -> None:
        """Append an entry, and return when it is on disk. Raises `OSError`."""
        if self._path is not None:
            line = json.dumps(asdict(entry), ensure_ascii=False) + "\n"
            with self._path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        self.entries[entry.key] = entry

    def remove_drafts(self) -> None:
        """Remove the files that a killed process was writing."""
        if self._path is None:
            return
        begun = [entry for entry in self.entries.values() if entry.state == "started"]
        for name in (name for entry in begun for name in entry.outputs):
            path = self._path.parent / name
            for draft in path.parent.glob(f".{glob.escape(path.name)}.*"):
                draft.unlink()

    def is_done(self, key: str, folder: Path) -> bool:
        """Whether a picture is finished and all its files are there."""
        entry = self.entries.get(key)
        return entry is not None and entry.state == "done" and all((folder / name).is_file() for name in entry.outputs)

    def seconds_per_picture(self) -> float | None:
        """The mean of the finished pictures. None when there are none."""
        taken = [entry.seconds for entry in self.entries.values() if entry.state == "done"]
        return sum(taken) / len(taken) if taken else None


def _read(path: Path) -> Iterator[Entry]:
    """The entries of a file. Raises `BatchError` when a line is none; only the last one may be torn."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BatchError(f"{path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
            yield Entry(**{**row, "outputs": tuple(row["outputs"]), "notes": tuple(row["notes"])})
        except (ValueError, TypeError, KeyError) as error:
            raise BatchError(f"{path}:{number} is no line of a manifest; move the file away to begin anew") from error


def _cut_torn_line(path: Path) -> None:
    """Remove what a killed process wrote of its last line."""
    if not path.exists():
        return
    data = path.read_bytes()
    if (whole := data.rfind(b"\n") + 1) < len(data):
        os.truncate(path, whole)
