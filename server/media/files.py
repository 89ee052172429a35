"""Writes files so that they are whole or absent. Does not know what they contain."""

import os
import uuid
from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """Write a file that no reader ever sees in part, even after a crash. Blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def delete_drafts(folder: Path) -> None:
    """Delete what a process that was killed left unfinished in the folders of this one. Blocks.

    Nobody may write there meanwhile.
    """
    for draft in folder.glob("*/.*.*"):
        draft.unlink(missing_ok=True)


def put_in_place(draft: Path, path: Path) -> None:
    """Rename a file and sync its folder, because a row in the database will name the file at once. Blocks."""
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
