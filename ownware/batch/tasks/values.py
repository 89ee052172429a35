"""Reads the values of flags and of a table's cells: numbers, paths, LoRAs, ControlNets, sides.

Paths become absolute, from the folder that they were written in. Knows spelling only; the schema checks ranges.
"""

import re
from pathlib import Path
from typing import Any

from ownware.batch.item import WireTask
from ownware.batch.tasks.flags import TaskFlag
from ownware.batch.tasks.pictures import AUTO, map_pictures

SEPARATOR = "|"  # between the pictures and the LoRAs of one cell
_YES, _NO = frozenset({"true", "yes", "1", "on"}), frozenset({"false", "no", "0", "off"})
_INTEGERS = frozenset({"startStep", "endStep", "startStepPercentage", "endStepPercentage"})
_CONTROL_KEYS = ("weight", "controlMode", *sorted(_INTEGERS))
_CONTROL_TAIL = re.compile(rf",({'|'.join(_CONTROL_KEYS)})=([^,=]*)$")
_SIDES = ("top", "right", "bottom", "left", "blur")
_URL = re.compile(r"(?:https?|data):", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class ValueProblem(ValueError):
    """A value cannot be read; the message names it."""


def read_cell(flag: TaskFlag, text: str, folder: Path) -> object:
    """The value of one cell. Raises `ValueProblem`."""
    match flag.kind:
        case "pictures":
            return [absolute(part.strip(), folder) for part in text.split(SEPARATOR) if part.strip()]
        case "lora":
            return [read_lora(part.strip(), folder) for part in text.split(SEPARATOR) if part.strip()]
        case "control":
            return [read_control(part.strip(), folder) for part in text.split(SEPARATOR) if part.strip()]
        case "switch":
            if text.lower() in _YES | _NO:
                return text.lower() in _YES
            raise ValueProblem(f"'{text}' is neither true nor false")
        case "picture":
            return absolute(text, folder)
        case "keep":
            return text if text == AUTO else absolute(text, folder)
        case "source":
            return int(text) if text.isdecimal() else text
        case "outpaint":
            return read_outpaint(text)
        case "integer":
            return _integer(text)
        case "number":
            return _number(text)
        case _:
            return text


def read_lora(text: str, folder: Path) -> dict[str, Any]:
    """`NAME` or `NAME=WEIGHT`; a name may be the path of a file."""
    name, found, weight = text.rpartition("=")
    if not found or (folder / text).is_file():
        return {"model": _lora_name(text, folder)}
    return {"model": _lora_name(name, folder), "weight": _number(weight)}


def read_control(text: str, folder: Path) -> dict[str, Any]:
    """`MODEL=IMAGE`, followed by `,weight=…` and other fields of a ControlNet."""
    fields: dict[str, Any] = {}
    while tail := _CONTROL_TAIL.search(text):
        name, value = tail.groups()
        fields[name] = value if name == "controlMode" else _integer(value) if name in _INTEGERS else _number(value)
        text = text[: tail.start()]
    model, found, image = text.partition("=")
    if not found or not model or not image:
        raise ValueProblem(f"'{text}' is no MODEL=IMAGE")
    return {"model": model, "guideImage": absolute(image, folder), **fields}


def read_outpaint(text: str) -> dict[str, int]:
    """`left=64,right=64`."""
    sides: dict[str, int] = {}
    for part in text.split(","):
        name, found, value = (word.strip() for word in part.partition("="))
        if not found or name not in _SIDES:
            raise ValueProblem(f"'{part}' is no SIDE=PIXELS with a side of {', '.join(_SIDES)}")
        sides[name] = _integer(value)
    return sides


def absolute(text: str, folder: Path) -> str:
    """A picture as an absolute path. A URL, a data URI and the UUID of no file stay."""
    path = Path(text).expanduser()
    if _URL.match(text) or (_UUID.fullmatch(text) and not (folder / path).exists()):
        return text
    return str((folder / path).absolute())


def with_absolute_paths(task: WireTask, folder: Path) -> WireTask:
    """A task in the wire's form whose pictures and LoRA files are absolute paths."""
    task = map_pictures(task, lambda text: absolute(text, folder))
    if isinstance(loras := task.get("lora"), list):
        task["lora"] = [
            {**lora, "model": _lora_name(lora["model"], folder)}
            if isinstance(lora, dict) and isinstance(lora.get("model"), str)
            else lora
            for lora in loras
        ]
    return task


def _lora_name(text: str, folder: Path) -> str:
    path = folder / Path(text).expanduser()
    return str(path.absolute()) if path.is_file() else text


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueProblem(f"'{text}' is no whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueProblem(f"'{text}' is no number") from None
