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
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name as well: rows that promise the file are on disk at once
    finally:
        os.close(folder)
