"""The flags of a task: each names a field of `imageInference`, spelt as on the wire.

A table's columns have the same names. A test compares them with the schema. Imports neither the schema nor pydantic, so
that the help of the command is quick.
"""

import difflib
import re
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "text", "integer", "number", "switch", "picture", "pictures", "lora", "control", "outpaint", "source", "keep"
]

LISTS: frozenset[Kind] = frozenset({"pictures", "lora", "control"})


@dataclass(frozen=True, slots=True)
class TaskFlag:
    """A flag and the field that it sets. `also` are further names of it."""

    name: str
    path: str
    kind: Kind
    help: str
    also: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """As it is typed: `--mask-margin`."""
        return f"--{kebab(self.name)}"

    @property
    def parameter(self) -> str:
        """The name of the Python parameter."""
        return kebab(self.name).replace("-", "_")


_CACHE = "acceleratorOptions"
PROMPT = TaskFlag(
    "prompt", "positivePrompt", "text", "What to draw, or how to edit.", ("positivePrompt", "instruction")
)
FLAGS: tuple[TaskFlag, ...] = (
    TaskFlag("model", "model", "text", "AIR identifier or slug. Default: the first that takes this many pictures."),
    TaskFlag("negativePrompt", "negativePrompt", "text", "What to keep out."),
    TaskFlag("width", "width", "integer", "Pixels, a multiple of 16 from 128 to 2048."),
    TaskFlag("height", "height", "integer", "Pixels, given together with the width."),
    TaskFlag("steps", "steps", "integer", "Denoising steps, 1 to 50. Default: the model's."),
    TaskFlag("seed", "seed", "integer", "Default: a random one for each picture."),
    TaskFlag("numberResults", "numberResults", "integer", "Pictures of one task; picture k has seed + k."),
    TaskFlag("scheduler", "scheduler", "text", "Such as 'DPM++ 2M Karras'. Default: Euler."),
    TaskFlag("CFGScale", "CFGScale", "number", "Guidance scale, 1 to 20; 1 switches guidance off."),
    TaskFlag("trueCFGScale", "settings.trueCFGScale", "number", "The same, up to 100; it wins."),
    TaskFlag(
        "reference",
        "inputs.referenceImages",
        "pictures",
        "A reference image. It may be repeated.",
        ("references", "referenceImage", "referenceImages"),
    ),
    TaskFlag("seedImage", "inputs.seedImage", "picture", "Picture to start from."),
    TaskFlag("mask", "inputs.maskImage", "picture", "White where the picture may change.", ("maskImage",)),
    TaskFlag("strength", "inputs.strength", "number", "How much of the seed image changes, 0 to 1."),
    TaskFlag("maskMargin", "maskMargin", "integer", "Render only the mask, with 32 to 128 pixels around it."),
    TaskFlag("outpaint", "outpaint", "outpaint", "Pixels to add on each side: left=64,right=64,blur=16."),
    TaskFlag(
        "alignTo",
        "ownware.alignTo",
        "source",
        "Undo a small shift and scale against the source: auto, seedImage, or the number of a reference, from 0.",
        ("align",),
    ),
    TaskFlag(
        "keepUnchanged",
        "ownware.keepUnchanged",
        "keep",
        "Keep the source's pixels where nothing has changed: auto, or a mask that is white where it may.",
        ("keepOutside",),
    ),
    TaskFlag("lora", "lora", "lora", "A LoRA: NAME or NAME=WEIGHT. It may be repeated.", ("loras",)),
    TaskFlag(
        "control",
        "controlNet",
        "control",
        "A ControlNet: MODEL=IMAGE, or MODEL=IMAGE,weight=0.5,endStep=8. It may be repeated.",
        ("controlNet",),
    ),
    TaskFlag("fbCache", f"{_CACHE}.fbCache", "switch", "Step cache: compare the first block's residual."),
    TaskFlag("fbCacheThreshold", f"{_CACHE}.fbCacheThreshold", "number", "0 to 1; lower reuses more."),
    TaskFlag("teaCache", f"{_CACHE}.teaCache", "switch", "Step cache: compare the first block's input."),
    TaskFlag("teaCacheDistance", f"{_CACHE}.teaCacheDistance", "number", "0 to 1; higher reuses more."),
    TaskFlag("dbCache", f"{_CACHE}.dbCache", "switch", "Step cache: compare the first few blocks."),
    TaskFlag("dbCacheThreshold", f"{_CACHE}.dbCacheThreshold", "number", "0 to 1; lower reuses more."),
    TaskFlag("dbCacheSkipInterval", f"{_CACHE}.dbCacheSkipInterval", "integer", "Most steps reused in a row."),
    TaskFlag("cacheStartStep", f"{_CACHE}.cacheStartStep", "integer", "First step that may be reused."),
    TaskFlag("cacheEndStep", f"{_CACHE}.cacheEndStep", "integer", "First step after those."),
    TaskFlag(
        "cacheStartStepPercentage", f"{_CACHE}.cacheStartStepPercentage", "integer", "The same, of the executed steps."
    ),
    TaskFlag(
        "cacheEndStepPercentage", f"{_CACHE}.cacheEndStepPercentage", "integer", "The same, of the executed steps."
    ),
    TaskFlag(
        "cacheMaxConsecutiveSteps", f"{_CACHE}.cacheMaxConsecutiveSteps", "integer", "Most steps reused in a row."
    ),
    TaskFlag("checkContent", "safety.checkContent", "switch", "Check whether the result is safe for work."),
    TaskFlag(
        "priority", "ownware.priority", "text", "With --server: low gives way to all other tasks. Default: normal."
    ),
    TaskFlag("outputFormat", "outputFormat", "text", "PNG, JPG or WEBP. Default: the source's.", ("format",)),
    TaskFlag("outputQuality", "outputQuality", "integer", "20 to 99, of JPG and WEBP. Default: 95.", ("quality",)),
)


def kebab(name: str) -> str:
    """A name of the wire as the command line spells it: `CFGScale` is `cfg-scale`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def find_flag(name: str) -> TaskFlag | None:
    """The flag of a column or a key, however it is spelt: `Negative prompt`, `negativePrompt`, `inputs.strength`."""
    return _BY_NAME.get(_plain(name))


def nearest_flag(name: str) -> str | None:
    """The known name that a misspelt one is near to."""
    near = difflib.get_close_matches(_plain(name), _BY_NAME, n=1, cutoff=0.75)
    return _BY_NAME[near[0]].name if near else None


def set_field(task: dict[str, Any], path: str, value: object) -> None:
    """Set a field of a task, such as `inputs.strength`."""
    *outer, last = path.split(".")
    for name in outer:
        task = task.setdefault(name, {})
    task[last] = value


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


_BY_NAME: dict[str, TaskFlag] = {
    _plain(name): flag for flag in (PROMPT, *FLAGS) for name in (flag.name, flag.path, *flag.also)
}
