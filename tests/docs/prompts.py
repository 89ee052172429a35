"""The prompts that the project shows, and what their pictures must show. Reads pictures as the training does."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.docs.pages import PAGES, ROOT, text_of
from training.scores.measure import detect_background, detect_things

SIZE, COLOUR = "small|medium|large", "red|orange|yellow|green|blue|purple|pink|black|gray|white"
SHAPE, PLACE = "circle|square|triangle|star|cross|ring", "(?:top |bottom )?(?:left|right)|center|top|bottom"
DRAW = re.compile(rf"an? ({SIZE}) ({COLOUR}) ({SHAPE}) at the ({PLACE}) on an? ({COLOUR}) background")

FILES = (
    *PAGES,
    *sorted(path for path in (ROOT / "examples").rglob("*.*") if path.suffix in (".py", ".mjs", ".json")),
    *(ROOT / name for name in ("ownware/__init__.py", "ownware/images/api.py", "server/process/greeting.py")),
    ROOT / "server" / "api" / "runware" / "openapi.py",
)


@dataclass(frozen=True)
class Seen:
    """A background, and the things on it: shape, colour, size and place of each. A shape of None is a blob."""

    background: str
    things: tuple[tuple[str | None, str, str, str], ...] = ()

    @classmethod
    def read(cls, picture: Image.Image) -> "Seen":
        """What a picture shows."""
        pixels = np.asarray(picture.convert("RGB"))
        things = detect_things(pixels)
        return cls(
            detect_background(pixels), tuple((each.shape, each.colour, each.size, each.place) for each in things)
        )


TRIGGER = "Context_Control. "  # of a LoRA whose example needs the real weights
CIRCLE = "a large red circle at the center on a white background"
CHINESE = {"蓝色背景，中央有一个大黄色星形": Seen("blue", (("star", "yellow", "large", "center"),))}
# Instructions, and what they make of the picture of `CIRCLE`.
EDITS = {
    "make the large red circle blue": Seen("white", (("circle", "blue", "large", "center"),)),
    "change the background to green": Seen("green", (("circle", "red", "large", "center"),)),
    "replace the large red circle with a square": Seen("white", (("square", "red", "large", "center"),)),
    "remove the large red circle": Seen("white"),
    "move the large red circle to the bottom right": Seen("white", (("circle", "red", "large", "bottom right"),)),
}


def expected(prompt: str) -> Seen:
    """What a prompt asks for. Raises `LookupError` for one that leaves something open."""
    if found := DRAW.fullmatch(prompt.removeprefix(TRIGGER)):
        size, colour, shape, place, background = found.groups()
        return Seen(background, ((shape, colour, size, place),))
    return (CHINESE | EDITS)[prompt]


_STRING = r"\"([^\"\n]+)\""
_KEYS = rf"(?:[pP]rompt\"?|PROMPT|SOURCE)\s*[=:]\s*{_STRING}"
_CALLS = rf"(?:generate\(|edit\([\w\". ]+,)\s*{_STRING}"
_CELLS = r"^\| \w+ \| ((?:make|change|replace|remove|move) the [^|]+?) \|$"
_PROMPT = re.compile(rf"{_KEYS}|{_CALLS}|{_CELLS}|`([^`]*背景[^`]*)`", re.MULTILINE)


def shown_prompts(file: Path) -> Iterator[str]:
    """The prompts in a file: of tasks, of calls of the Python API, in tables of instructions, and Chinese ones."""
    for found in _PROMPT.findall(text_of(file)):
        yield "".join(found)
