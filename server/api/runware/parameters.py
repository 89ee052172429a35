"""Runware's parameter names for the neutral paths of errors."""

from server.tasks.plain.parameter_names import parameter_name

# Each neutral path and its parameter. A number in brackets is kept.
_NAMES = {
    "task_id": "taskUUID",
    "api_key": "apiKey",
    "prompt": "positivePrompt",
    "negative_prompt": "negativePrompt",
    "references[]": "inputs.referenceImages[]",
    "seed_image": "inputs.seedImage",
    "mask": "inputs.maskImage",
    "webhook": "webhookURL",
    "upload": "uploadEndpoint",
    "check_content": "safety.checkContent",
    "guard.mask": "ownware.keepUnchanged",
    "loras[]": "lora[].model",
    "controls[]": "controlNet[].model",
    "controls[].control_image": "controlNet[].guideImage",
}


def parameter_of(path: str) -> str:
    """The parameter of a neutral path: `loras[1]` → `lora[1].model`. Other paths are the same on the wire."""
    return parameter_name(path, _NAMES)
