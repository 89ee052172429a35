"""The prompts that the project shows, and what their pictures must show. Reads pictures as the training does."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.docs.pages import PAGES, ROOT, blocks, name_of, text_of
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

REQUESTS = sorted((ROOT / "examples" / "requests").glob("*.json"))
SENDS = re.compile(r"^(?:curl -s http://127\.0\.0\.1:8000/v1 |examples/\w+\.sh )", re.MULTILINE)
UUID = "7b1f6f0e-2c3b-4a55-9d43-0a4a0f3e7b10"  # in place of a fresh one


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


def tasks_in(code: str) -> list[dict[str, Any]]:
    """The tasks in a command or in JSON; none where there is no array of them."""
    found = re.search(r"\[\s*\{.*\}\s*\]", code, re.DOTALL)
    return json.loads(re.sub(r"'\$\([^)]*\)'", UUID, found[0])) if found else []


def sending_commands(page: Path) -> list[str]:
    """The commands of a page that send tasks: a curl with its many lines, or a script of the examples."""
    sending = [code for code in blocks(page, "sh") if SENDS.search(code)]
    return [command for code in sending for command in ([code] if "curl" in code else code.splitlines())]


def sent_by(command: str) -> dict[str, Any]:
    """The task in a curl or in the request file of a script. Without one, a picture is uploaded."""
    text = "".join(text_of(file) for file in REQUESTS if name_of(file) in command) or command
    return (tasks_in(text) or [{}])[0]


def seen_and_wanted(picture: Image.Image, task: dict[str, Any]) -> tuple[Seen, Seen]:
    """What the picture of a task shows, and what it must show."""
    seen, wanted = Seen.read(picture), expected(task["positivePrompt"])
    if task.get("lora"):  # an outline is no shape that the training knows
        return _without_shape(seen), _without_shape(wanted)
    return seen, wanted


def _without_shape(seen: Seen) -> Seen:
    ((_, colour, _, place),) = seen.things
    return Seen(seen.background, ((None, colour, "", place),))


_STRING = r"\"([^\"\n]+)\""
_KEYS = rf"(?:[pP]rompt\"?|PROMPT|SOURCE)\s*[=:]\s*{_STRING}"
_CALLS = rf"(?:generate\(|edit\([\w\". ]+,)\s*{_STRING}"
_CELLS = r"^\| \w+ \| ((?:make|change|replace|remove|move) the [^|]+?) \|$"
_PROMPT = re.compile(rf"{_KEYS}|{_CALLS}|{_CELLS}|`([^`]*背景[^`]*)`", re.MULTILINE)


def shown_prompts(file: Path) -> Iterator[str]:
    """The prompts in a file: of tasks, of calls of the Python API, in tables of instructions, and Chinese ones."""
    for found in _PROMPT.findall(text_of(file)):
        yield "".join(found)
