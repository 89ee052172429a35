"""Lists the words that captions and instructions are made of, for the server's warning about other prompts.

Knows captions and edits; knows no tokenizer and no network.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from training.data.captions import LOW_QUALITY, chinese_names, random_caption
from training.data.edits import KINDS, random_edit
from training.data.random_scenes import random_scene
from training.data.texts import DIGITS, WORDS, Kind, all_texts

DRAWS = "flat shapes and short words"
_TEXTS = 2000  # 900 have every word already, whatever the seed
_QUOTED = re.compile(r'"[^"]*"')
_HAN = re.compile(r"[\u4e00-\u9fff]+")
# What else a run of Han characters is split at. A word may stand in other sentences than those of the captions.
_NOUNS, _PARTICLES = ("背景", "文字", "图"), ("的", "把", "在")
_WIDTH = 110  # columns of the file


@cache
def training_texts(seed: int, texts: int = _TEXTS) -> tuple[str, ...]:
    """Return captions and instructions as in training."""
    rng = np.random.default_rng(seed)
    lines = list(LOW_QUALITY.values())
    lines += [random_caption(random_scene(rng), rng) for _ in range(texts * 2 // 3)]
    kinds = ("keep", *KINDS)
    lines += [random_edit(rng, kind).instruction(rng) for kind in kinds for _ in range(texts // 3 // len(kinds))]
    return tuple(lines)


def vocabulary_file(texts: Iterable[str], written: Iterable[str], digits: int = 0) -> str:
    """Return a file for `pipelines.catalog.vocabulary` that knows every word of some texts.

    `written` are the texts that pictures show, besides numbers of so many digits.
    """
    words, phrases = set[str](), {*chinese_names(), *_NOUNS}
    named = re.compile("|".join(sorted((*phrases, *_PARTICLES), key=lambda name: (-len(name), name))))
    for text in texts:
        plain = _QUOTED.sub(" ", text)
        words |= set(re.findall(r"[a-z0-9]+", plain.lower()))
        phrases |= {rest for run in _HAN.findall(plain) for rest in named.sub(" ", run).split()}
    lists = {"words": words, "phrases": phrases, "texts": set(written)}
    return "\n".join(
        [
            "# All words of the captions and instructions that the weights were trained on.",
            "# Written by training/data/vocabulary.py.",
            f'draws = "{DRAWS}"',
            *([f"digits = {digits}"] if digits else []),
            *(f"{name} = [\n{_rows(sorted(found))}]" for name, found in lists.items()),
            "",
        ]
    )


def save_vocabulary(path: Path, texts: Kind = "capitals", seed: int = 0) -> None:
    """Write the file of weights that were trained on scenes with such texts."""
    path.write_text(_vocabulary(texts, seed), encoding="utf-8")


@cache  # a training saves it every minute
def _vocabulary(texts: Kind, seed: int) -> str:
    written, digits = (WORDS, 0) if texts == "capitals" else (all_texts(), DIGITS)
    return vocabulary_file(training_texts(seed), written, digits)


def _rows(values: Iterable[str]) -> str:
    rows, row = "", ""
    for value in values:
        item = f'"{value}", '
        if len(row) + len(item) > _WIDTH:
            rows, row = f"{rows}    {row.rstrip()}\n", ""
        row += item
    return f"{rows}    {row.rstrip()}\n"
