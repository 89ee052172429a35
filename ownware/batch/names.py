"""The names and formats of results: from a pattern, without overwriting what is there.

Knows names; reads only whether they are taken.
"""

import re
import string
import unicodedata
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from ownware.batch.item import BatchError, Item, ItemError
from server.media.metadata import Format

PATTERN, PATTERN_OF_SEVERAL = "{stem}.{ext}", "{stem}-{seed}.{ext}"
FIELDS = ("stem", "seed", "ext", "number")
_FORMATS: dict[str, Format] = {"png": "PNG", "jpg": "JPG", "jpeg": "JPG", "webp": "WEBP"}
# Formats of sources that results are not written in, by what is nearest: without loss, or a photo.
_NEAREST: dict[str, Format] = {"TIFF": "PNG", "BMP": "PNG", "GIF": "PNG", "AVIF": "JPG", "HEIF": "JPG"}
_SOURCES: dict[str, Format] = {"PNG": "PNG", "JPEG": "JPG", "MPO": "JPG", "WEBP": "WEBP", **_NEAREST}
_LONGEST_STEM = 120  # characters; a name may have 255 bytes, and a character up to four
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')


def format_of_name(path: Path) -> Format | None:
    """The format that a result's name says. None when it says none."""
    return _FORMATS.get(path.suffix.lower().removeprefix("."))


def parse_format(text: str) -> Format:
    """A format by its name. Raises `ItemError`."""
    if (found := _FORMATS.get(text.lower())) is None:
        raise ItemError(f"outputFormat: '{text}' is none of PNG, JPG and WEBP")
    return found


def format_of_source(pillow_name: str, *, has_alpha: bool) -> Format:
    """The format of a result whose source has this format. A JPG has no transparency."""
    found = _SOURCES.get(pillow_name, "PNG")
    return "PNG" if has_alpha and found == "JPG" else found


def check_pattern(pattern: str) -> str:
    """A pattern of names. Raises `BatchError` when it has an unknown field or leads out of the folder."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
        pattern.format(stem="a", seed=0, ext="png", number=1)
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise BatchError(f"--name: '{pattern}' cannot be used: {error}; the fields are {_fields()}") from error
    if unknown := [name for name in fields if name not in FIELDS]:
        raise BatchError(f"--name: there is no field {{{unknown[0]}}}; the fields are {_fields()}")
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise BatchError(f"--name: '{pattern}' does not stay in the output folder")
    return pattern


def safe_stem(text: str) -> str:
    """A text as a part of a file name."""
    plain = _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip(" .-")
    return plain[:_LONGEST_STEM].rstrip(" .-") or "picture"


def stem_of_prompt(prompt: str) -> str:
    """The first words of a prompt as a file name."""
    return safe_stem("-".join(re.findall(r"\w+", prompt.lower())[:8]))[:60].rstrip("-")


def result_names(
    item: Item, pattern: str, seeds: range, extension: str, number: int, taken: Collection[str], folder: Path | None
) -> tuple[str, ...]:
    """The names of a task's results, apart from those that are taken or exist in the folder.

    `taken` are in lower case, because some disks take no notice of it.
    """
    names: list[str] = []
    own: set[str] = set()
    for seed in seeds:
        name = pattern.format(stem=item.stem, seed=seed, ext=extension, number=f"{number:04d}")
        names.append(_free(item.folder / name, taken, own, folder))
        own.add(names[-1].lower())
    return tuple(names)


def _free(wanted: PurePosixPath, taken: Collection[str], own: Collection[str], folder: Path | None) -> str:
    candidate, number = wanted, 1
    while True:
        lower = candidate.as_posix().lower()
        if lower not in taken and lower not in own and (folder is None or not (folder / candidate).exists()):
            return candidate.as_posix()
        number += 1
        candidate = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")


def _fields() -> str:
    return ", ".join(f"{{{name}}}" for name in FIELDS)
