"""Reading a models file: its rows, checked and completed. What is wrong with it is told with its line.

Knows how a file is written; what a row means is the catalogue's.
"""

import difflib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import Field, TypeAdapter, ValidationError

from pipelines.catalog.catalog import (
    BUILT_IN,
    EMBEDDED,
    EMBEDDED_FOLDER,
    IN_CONTEXT_LORA,
    LORA_ARCHITECTURES,
    OWN_FILES,
    Adapter,
    Catalog,
    Mode,
    ModelEntry,
    names_of,
    with_embedded_abilities,
)
from pipelines.catalog.own_lora import OwnLora
from pipelines.catalog.schedules import UNCHANGED, LoraSchedule, ScheduleConflict, SigmaSchedule, file_schedule
from pipelines.catalog.vocabulary import VocabularyError

_MODELS = TypeAdapter(Annotated[tuple[ModelEntry, ...], Field(min_length=1)])
_ADAPTERS = TypeAdapter(tuple[Adapter, ...])
_TABLES = ("models", "loras", "controlnets")
Row = TypeVar("Row", ModelEntry, Adapter)
# The keys of a model that take one of a few names.
_CHOICES: dict[object, tuple[str, ...]] = {"mode": get_args(Mode), "architecture": LORA_ARCHITECTURES}


class CatalogError(ValueError):
    """The models file cannot be used; the message names the file, the row and the key."""


def load_catalog(path: Path = BUILT_IN) -> Catalog:
    """Read a models file.

    Raises `CatalogError` when it is missing, is not TOML, a row lacks a key or has an unknown one, or an
    identifier is used twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(f"{path}: {error}") from error
    for name in document.keys() - set(_TABLES):
        raise CatalogError(f"{path}: {name}{_line(text, name)}: there is no such table{_nearest(name, _TABLES)}")
    models = _rows(path, text, document, "models", _MODELS)
    loras, controlnets = (_rows(path, text, document, kind, _ADAPTERS) for kind in ("loras", "controlnets"))
    if with_schedule := [row.air for row in controlnets if row.schedule is not None]:
        raise CatalogError(f"{path}: controlnets: {with_schedule[0]}: a ControlNet has no schedule")
    if in_context := [row.air for row in controlnets if row.in_context]:
        raise CatalogError(f"{path}: controlnets: {in_context[0]}: in_context is a key of LoRAs")
    for row in (*loras, *controlnets):
        if near := _misspelt(row.architecture):
            raise CatalogError(f"{path}: {row.air}: architecture: '{row.architecture}'; the nearest is '{near}'")
    if alone := [row.air for row in models if row.text_encoder_mmproj is not None and row.text_encoder is None]:
        raise CatalogError(f"{path}: models: {alone[0]}: text_encoder_mmproj: name the GGUF as text_encoder too")
    for row in models:
        try:
            _ = row.known_words
        except VocabularyError as error:
            raise CatalogError(f"{path}: models: {row.air}: vocabulary: {error}") from error
    models = tuple(_own_schedule(row, path) for row in models)
    loras = tuple(_recognize(row) for row in loras)
    names = [name for row in (*models, *loras, *controlnets) for name in names_of(row)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise CatalogError(f"{path}: named more than once: {', '.join(repeated)}")
    return with_embedded_abilities(Catalog(models, loras, controlnets))


def _rows(
    path: Path, text: str, document: dict[str, Any], kind: str, rows: TypeAdapter[tuple[Row, ...]]
) -> tuple[Row, ...]:
    if isinstance(document.get(kind), dict):
        raise CatalogError(f"{path}: {kind}{_line(text, kind)}: write [[{kind}]], in double brackets")
    try:
        found = rows.validate_python(document.get(kind, ()))
    except ValidationError as error:
        raise CatalogError(f"{path}: {_describe(error, text, document, kind)}") from error
    return tuple(_resolve_path(row, path.parent) for row in found)


def _describe(error: ValidationError, text: str, document: dict[str, Any], kind: str) -> str:
    """The first error with its row and line. A wrong name goes before the right one that is missing for it."""
    errors = error.errors()
    unknown = next((each for each in errors if each["type"] == "unexpected_keyword_argument"), None)
    first = unknown or errors[0]
    place = list(first["loc"])
    path = ".".join(str(part) for part in (kind, *place))
    if not place:
        return f"{path}: {first['msg']}"
    row = document[kind][place[0]]
    air = f" of {row['air']}" if isinstance(row, dict) and "air" in row else ""
    message = first["msg"]
    if unknown is not None:
        row_keys = ModelEntry if kind == "models" else Adapter
        keys = row_keys if len(place) < 3 else OwnLora if place[1] == "loras" else LoraSchedule
        message = f"there is no such key{_nearest(str(place[-1]), [field.name for field in fields(keys)])}"
    elif place[-1] in _CHOICES and first["type"] == "literal_error":
        message = f"'{first['input']}' is none of them{_nearest(str(first['input']), _CHOICES[place[-1]])}"
    return f"{path}{air}{_line(text, kind, int(place[0]))}: {message}"


def _line(text: str, table: str, number: int = 0) -> str:
    """The line of a table's header, or nothing where it is written in another way."""
    headers = list(re.finditer(rf"^[ \t]*\[+[ \t]*{re.escape(table)}[ \t]*\]", text, re.MULTILINE))
    return f" (line {text.count(chr(10), 0, headers[number].start()) + 1})" if number < len(headers) else ""


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest is '{near[0]}'" if near else f"; there are {', '.join(known)}"


def _misspelt(architecture: str) -> str | None:
    """What an architecture was meant to be. One that is far from all may be listed, and is refused in a task."""
    near = difflib.get_close_matches(architecture, LORA_ARCHITECTURES, n=1)
    return near[0] if near and architecture not in LORA_ARCHITECTURES else None


def _recognize(row: Adapter) -> Adapter:
    """A LoRA with its schedule, if it is known and the row has none, and with its kind."""
    in_context = row.in_context or IN_CONTEXT_LORA.search(row.weights) is not None
    return replace(row, schedule=row.schedule or file_schedule(row.weights), in_context=in_context)


def _own_schedule(row: ModelEntry, path: Path) -> ModelEntry:
    """A model with the schedule that its own LoRAs were made for, if the row has none."""
    try:
        known = row.made_for
    except ScheduleConflict as error:
        raise CatalogError(f"{path}: models: {row.air}: loras: {error}") from error
    return row if row.schedule != UNCHANGED else replace(row, schedule=SigmaSchedule(known.shift, known.terminal))


def _resolve_path(row: Row, folder: Path) -> Row:
    """A row with absolute paths to the files and folders that lie beside the catalogue; other names are the hub's."""
    row = replace(row, slugs=tuple(slug.lower() for slug in row.slugs), weights=_absolute(row.weights, folder))
    if not isinstance(row, ModelEntry):
        return row
    own = {each: _absolute(name, folder) for each in OWN_FILES if (name := getattr(row, each)) is not None}
    if row.vocabulary is not None:
        own["vocabulary"] = str((folder / Path(row.vocabulary).expanduser()).resolve())
    loras = tuple(replace(lora, weights=_absolute(lora.weights, folder)) for lora in row.loras)
    return replace(row, loras=loras, **own)


def _absolute(name: str, folder: Path) -> str:
    """A path that is there, or that can be nothing else, as an absolute one; the name of a hub repository as it is."""
    path = folder / Path(name).expanduser()
    if name == EMBEDDED or not (path.exists() or is_path(name)):
        return name
    found = path.resolve()
    return EMBEDDED if found == EMBEDDED_FOLDER.resolve() else str(found)


def is_path(name: str) -> bool:
    """Whether a name is written as a path. A name of the hub has an owner and a repository."""
    path = Path(name)
    return path.is_absolute() or name[:1] in (".", "~") or len(path.parts) < 2
