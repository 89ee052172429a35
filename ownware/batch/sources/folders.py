"""Finds the pictures that are named on the command line: files, folders and patterns, in order.

Knows names; opens no file.
"""

import fnmatch
import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ownware.batch.item import BatchError

SUFFIXES = frozenset(".png .jpg .jpeg .webp .avif .heic .heif .tif .tiff .bmp .gif".split())
TABLE_SUFFIXES = frozenset({".csv", ".jsonl", ".tsv"})


@dataclass(frozen=True, slots=True)
class Found:
    """A picture. `folder` is where it lies within the folder that was named."""

    path: Path
    folder: PurePosixPath = field(default_factory=PurePosixPath)


def find_pictures(source: str, patterns: Sequence[str], out: Path) -> Iterator[Found]:
    """The pictures of one source, without those in the output folder. Raises `BatchError` when there are none."""
    path = Path(source).expanduser()
    if path.is_dir():
        yield from _in_folder(path, patterns, out)
    elif path.exists():
        yield Found(path)
    elif glob.has_magic(source):
        named = sorted(map(Path, glob.glob(str(path), recursive=True)), key=_natural)  # noqa: PTH207  may be absolute
        files = [each for each in named if each.is_file()]
        if not files:
            raise BatchError(f"no file is named like '{source}'")
        yield from map(Found, files)
    else:
        raise BatchError(f"{source}: there is no such file or folder")


def is_table(source: str) -> bool:
    """Whether a source is a table of tasks."""
    return Path(source).suffix.lower() in TABLE_SUFFIXES


def check_output_folder(sources: Sequence[str], out: Path) -> None:
    """Raise `BatchError` when results would go where the sources are."""
    if out.exists() and not out.is_dir():
        raise BatchError(f"--output: {out} is no folder")
    for source in sources:
        path = Path(source).expanduser()
        folder = path if path.is_dir() else path.parent
        if not is_table(source) and folder.resolve() == out.resolve():
            raise BatchError(f"--output: {out} is the folder of the source {source}; name another one")


def _in_folder(folder: Path, patterns: Sequence[str], out: Path) -> Iterator[Found]:
    within = out.resolve()
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or not path.is_file() or within in path.resolve().parents:
            continue
        if _wanted(name, patterns):
            found.append(Found(path, PurePosixPath(name.parent.as_posix())))
    if not found:
        kinds = f"named like {', '.join(patterns)}" if patterns else f"ending in {', '.join(sorted(SUFFIXES))}"
        raise BatchError(f"{folder} has no picture {kinds}")
    yield from sorted(found, key=lambda each: _natural(each.path))


def _wanted(name: Path, patterns: Sequence[str]) -> bool:
    if not patterns:
        return name.suffix.lower() in SUFFIXES
    return any(fnmatch.fnmatch(name.name, pattern) or fnmatch.fnmatch(name.as_posix(), pattern) for pattern in patterns)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """The order that people expect: picture 2 before picture 10."""
    parts = re.split(r"(\d+)", path.as_posix().lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
