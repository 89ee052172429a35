"""The vocabulary of small weights: the words that their captions and instructions had. Finds others in a prompt.

A file of a model, key `vocabulary`. Weights that read everything have none. Imports no torch.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from accel.validation_message import validation_message

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_QUOTED = re.compile(r"[\"“”„«「『]([^\"“”»」』]*)[\"“”»」』]")
# A run of Han characters, a word of any other script, or a pictograph.
_PIECE = re.compile(rf"([{_HAN}]+)|[^\W_{_HAN}]+(?:['’][^\W_{_HAN}]+)*|[\u2600-\u27bf\U0001f000-\U0001faff]")
# Words of a sentence that ask for no content. A prompt may have them whatever the captions said.
_ENGLISH = frozenset(
    "a an the of in on at to with from and or but is are be there it its this that these please draw paint make show "
    "create generate render image picture only one i want".split()
)
_CHINESE = "的了着在和与有是一个只颗条张幅上里中请画给我这那把"
_SHOWN = 3  # unknown words in a warning
_LONGEST = 24  # characters of each of them


class VocabularyError(ValueError):
    """The file of a vocabulary cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Vocabulary:
    """What weights draw, in words, and all that their captions were made of.

    `words` are in small letters, `phrases` are Chinese, and `texts` are what they can write,
    besides numbers of up to `digits` digits.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    draws: Annotated[str, Field(min_length=1)]
    words: frozenset[str]
    phrases: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    digits: Annotated[int, Field(ge=0)] = 0

    def unknown(self, prompt: str) -> tuple[str, ...]:
        """The words of a prompt that are not known, each once, in their order. Texts to write stand in quotes."""
        prompt = unicodedata.normalize("NFKC", prompt)
        quoted = (text.strip() for text in _QUOTED.findall(prompt))
        found = [f'"{text}"' for text in quoted if text and not self._writes(text)]
        for piece in _PIECE.finditer(_QUOTED.sub(" ", prompt)):
            word = piece.group()
            if piece.group(1):
                found += self._unknown_chinese(word)
            elif word.lower() not in self._known_words:
                found.append(word)
        return tuple(dict.fromkeys(found))

    def remark(self, parameter: str, prompt: str) -> str | None:
        """The warning about a prompt with unknown words, None for any other."""
        unknown = self.unknown(prompt)
        if not unknown:
            return None
        shown = ", ".join(word if len(word) <= _LONGEST else f"{word[:_LONGEST]}…" for word in unknown[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        return f"{parameter}: these weights draw {self.draws} only. They were not trained on: {shown}{more}."

    def _writes(self, text: str) -> bool:
        return text in self.texts or (len(text) <= self.digits and text.isascii() and text.isdecimal())

    def _unknown_chinese(self, run: str) -> Iterator[str]:
        """What is left of a run of Han characters between the longest known phrases."""
        return (rest for rest in self._phrase.sub(" ", run).split() if rest)

    @cached_property
    def _known_words(self) -> frozenset[str]:
        return self.words | _ENGLISH

    @cached_property
    def _phrase(self) -> re.Pattern[str]:
        longest_first = sorted({*self.phrases, *_CHINESE}, key=lambda phrase: (-len(phrase), phrase))
        return re.compile("|".join(re.escape(phrase) for phrase in longest_first))


_VOCABULARY = TypeAdapter(Vocabulary)


@lru_cache(maxsize=16)
def load_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary, once for each path. Raises `VocabularyError`."""
    try:
        return _VOCABULARY.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise VocabularyError(f"{path}: {validation_message(error)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise VocabularyError(f"{path}: {error}") from error
