"""The prompts of the benchmark, with the words that they ask for and the images that they edit.

Knows files and Pillow; imports no torch.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from PIL import Image
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from accel.validation_message import validation_message
from pipelines.catalog.catalog import REFERENCES, ModelEntry
from pipelines.catalog.fingerprint import file_digest
from pipelines.catalog.templates import find_control_token
from pipelines.request import Reference

EMBEDDED = Path(__file__).with_name("prompts_embedded.toml")
GENERAL = Path(__file__).with_name("prompts_general.toml")
_QUOTED = re.compile(r"[\"“「『]([^\"”」』]+)[\"”」』]")


class PromptsError(ValueError):
    """The prompts cannot be used; the message names the file and the prompt."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, and the images that it edits."""

    text: str
    references: tuple[Reference, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The words that the image should show: the text in quotation marks."""
        return tuple(_QUOTED.findall(self.text))


@dataclass(frozen=True, slots=True)
class _Row:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    text: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Document:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    prompts: Annotated[tuple[_Row, ...], Field(min_length=1)]


_DOCUMENT = TypeAdapter(_Document)


def load_prompts(path: Path, entry: ModelEntry) -> tuple[Prompt, ...]:
    """The prompts of a file for a model: TOML, or text with one prompt a line.

    A relative reference is resolved from the file's folder. Raises `PromptsError`.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = _DOCUMENT.validate_python(tomllib.loads(text)).prompts if path.suffix == ".toml" else _lines(text)
    except ValidationError as error:
        raise PromptsError(f"{path}: {validation_message(error)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PromptsError(f"{path}: {error}") from error
    if not rows:
        raise PromptsError(f"{path}: it contains no prompt")
    prompts = tuple(_prompt(path, row, entry) for row in rows)
    if len(set(prompts)) < len(prompts):
        raise PromptsError(f"{path}: a prompt occurs twice")
    return prompts


def default_prompts(entry: ModelEntry) -> tuple[Prompt, ...]:
    """The prompts that come with the project. Raises `PromptsError` for a model that edits: it needs images."""
    return load_prompts(EMBEDDED if entry.embedded else GENERAL, entry)


def _lines(text: str) -> tuple[_Row, ...]:
    return tuple(_Row(line.strip()) for line in text.splitlines() if line.strip())


def _prompt(path: Path, row: _Row, entry: ModelEntry) -> Prompt:
    if token := find_control_token(row.text):
        raise PromptsError(f"{path}: '{row.text}' contains the control token {token}")
    minimum, maximum = REFERENCES[entry.mode]
    if not minimum <= len(row.references) <= maximum:
        takes = str(minimum) if minimum == maximum else f"{minimum} to {maximum}"
        given = len(row.references)
        raise PromptsError(f"{path}: '{row.text}' has {given} references, and {entry.air} takes {takes}")
    return Prompt(row.text, tuple(_reference(path, name) for name in row.references))


def _reference(path: Path, name: str) -> Reference:
    image_path = path.parent / Path(name).expanduser()
    try:
        with Image.open(image_path) as image:
            image.load()
            return Reference(image_path, file_digest(image_path), *image.size)
    except (OSError, Image.DecompressionBombError) as error:
        raise PromptsError(f"{path}: {name} is no readable image: {error}") from error
