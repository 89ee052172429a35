"""Files that are either whole or not there. Knows nothing of what is in them."""

import os
import uuid
from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that no reader, and no crash, ever sees a part of it. Blocks."""
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


def put_in_place(draft: Path, path: Path) -> None:
    """Give a file that is on disk its name, and have the name on disk too: rows promise it at once. Blocks."""
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
