"""Runware's names for the parts of a task, for errors that are found behind the wire."""

import re

# The neutral name of a part, and the parameter; a number in brackets stays where it is.
_NAMES = {
    "task_id": "taskUUID",
    "api_key": "apiKey",
    "prompt": "positivePrompt",
    "negative_prompt": "negativePrompt",
    "references[]": "inputs.referenceImages[]",
    "seed_image": "inputs.seedImage",
    "mask": "inputs.maskImage",
    "loras[]": "lora[].model",
    "controls[]": "controlNet[].model",
    "controls[].control_image": "controlNet[].guideImage",
}


def parameter_of(path: str) -> str:
    """`loras[1]` → `lora[1].model`. Other paths are returned as they are: both sides call `width` so."""
    number = re.search(r"\[\d+\]", path)
    if number is None:
        return _NAMES.get(path, path)
    name = _NAMES.get(path.replace(number[0], "[]"))
    return name.replace("[]", number[0]) if name else path
