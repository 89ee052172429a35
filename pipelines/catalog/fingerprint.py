"""Content hashes of weight files and folders.

Knows the file system; imports no torch.
"""

import hashlib
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path

# Only the ends of a large file are hashed. Reading 54 GB takes minutes, and two trainings of a model differ everywhere.
_WHOLE_UP_TO = 64 * 2**20
_END = 2**20
_WEIGHTS_AND_CONFIGS = {".safetensors", ".json", ".txt", ".bin", ".jinja"}


def file_digest(path: Path) -> str:
    """The SHA-256 of a file. It is read again only when its size or time changes. Raises `OSError` when it is gone."""
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


def folder_fingerprint(folder: Path, without: Collection[str] = ()) -> str:
    """A SHA-256 of the names, sizes and contents of the weights and configurations in a folder.

    Files beside subfolders of models are documentation, and are left out. Of files above 64 MiB, only the first and the
    last MiB are hashed. `without` names subfolders whose weights are not used.
    """
    paths = [path for path in _weight_files(folder) if path.relative_to(folder).parts[0] not in without]
    return _fingerprint(folder, [path for path in paths if path.parent != folder] or paths)


def file_fingerprint(path: Path) -> str:
    """The same for a single file."""
    return _fingerprint(path.parent, [path])


def part_fingerprint(folder: Path, part: str) -> str | None:
    """The fingerprint of one subfolder, such as the transformer; None when there is none."""
    return _fingerprint(folder, _weight_files(folder / part)) if (folder / part).is_dir() else None


def _fingerprint(folder: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE_UP_TO:
                digest.update(file.read())
            else:
                digest.update(file.read(_END))
                file.seek(-_END, 2)
                digest.update(file.read(_END))
    return digest.hexdigest()


def _weight_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in _WEIGHTS_AND_CONFIGS and path.is_file()]


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
