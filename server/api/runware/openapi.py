"""The OpenAPI description of Runware's API, with examples that can be sent.

It is built from the types that validate the tasks.
"""

from collections.abc import Iterator
from typing import Any

from pipelines.catalog.catalog import Catalog
from server.api.openapi_schemas import add_schemas, json_content, reference
from server.api.runware.schema.tasks import TASKS

_TASK_UUID = "7b1f6f0e-2c3b-4a55-9d43-0a4a0f3e7b10"

# `model` is a mode here. `describe` replaces it by the first served model of that mode.
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "Text to image": [
        {
            "taskType": "imageInference",
            "taskUUID": _TASK_UUID,
            "model": "text_to_image",
            "positivePrompt": "a large red circle at the center on a white background",
            "width": 512,
            "height": 512,
            "steps": 20,
            "seed": 7,
        }
    ],
    "Edit an image": [
        {
            "taskType": "imageInference",
            "taskUUID": "3d7b1a52-8a63-4c7e-8f0e-5d1c1f1f2a11",
            "model": "edit",
            "inputs": {"referenceImages": ["<UUID, URL, data URI or base64 of the image>"]},
            "positivePrompt": "make the large red circle blue",
            "steps": 8,
            "seed": 7,
        }
    ],
    "Ask for an async result": [{"taskType": "getResponse", "taskUUID": _TASK_UUID}],
    "Make a control image for a ControlNet": [
        {
            "taskType": "controlNetPreprocess",
            "taskUUID": "9b6b3a39-61c7-4b5f-9a0e-3f0f4f6f7a13",
            "inputImage": "<UUID, URL, data URI or base64 of the image>",
            "preProcessorType": "canny",
            "outputFormat": "PNG",
        }
    ],
    "List the models": [{"taskType": "modelSearch", "taskUUID": "5f0d4a5b-0f4e-4f7e-8a52-2a6f5d1c9e12"}],
}

_IMAGE_UUID = "d297400b-aa84-44ea-8b86-85e2c887fce2"
SUCCESS = {
    "data": [
        {
            "taskType": "imageInference",
            "taskUUID": _TASK_UUID,
            "imageUUID": _IMAGE_UUID,
            "imageURL": f"http://127.0.0.1:8000/image/{_IMAGE_UUID}.jpg",
            "seed": 7,
        }
    ]
}
_ERROR = {
    "code": "invalidWidth",
    "message": "Invalid value for 'width' parameter. It must be an integer between 128 and 2048, in multiples of 16.",
    "parameter": "width",
    "type": "integer",
    "min": 128,
    "max": 2048,
    "multiplier": 16,
    "taskType": "imageInference",
    "taskUUID": _TASK_UUID,
}
REFUSAL = {"data": [], "errors": [_ERROR], "error": _ERROR}


def describe(document: dict[str, Any], catalog: Catalog) -> None:
    """Add `POST /v1`: the types of its tasks and answers, and examples for the served models."""
    names = add_schemas(document, TASKS.values(), {"Answer": _answer()})
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    kinds = {name: names[model]["$ref"] for name, model in TASKS.items()}
    task = {
        "oneOf": [{"$ref": ref} for ref in dict.fromkeys(kinds.values())],  # one type may have two names
        "discriminator": {"propertyName": "taskType", "mapping": kinds},
    }
    schema = reference("Answer")
    answer = {"content": json_content("Answer")}
    success = {"content": {"application/json": {"schema": schema, "example": SUCCESS}}}
    refusal = {"content": {"application/json": {"schema": schema, "example": REFUSAL}}}
    document["paths"]["/v1"]["post"] |= {
        "summary": "Run tasks",
        "tags": ["tasks"],
        "security": [{"key": []}, {}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "array", "minItems": 1, "items": task},
                    "examples": {name: {"value": value} for name, value in _examples(catalog)},
                }
            },
        },
        "responses": {
            "200": {"description": "At least one task succeeded."} | success,
            "400": {"description": "No task could be accepted."} | refusal,
            "401": {"description": "Missing or wrong API key."} | answer,
            "404": {"description": "No such task."} | answer,
            "413": {"description": "The body is too large."} | answer,
            "429": {"description": "The queue is full."} | answer,
            "500": {"description": "The worker failed."} | answer,
            "503": {"description": "No worker is available."} | answer,
        },
    }


def _examples(catalog: Catalog) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The examples whose mode is served, with the first model of that mode."""
    for name, (task,) in EXAMPLES.items():
        if "model" not in task:
            yield name, [task]
        elif entry := next((entry for entry in catalog.entries if entry.mode == task["model"]), None):
            yield name, [task | {"model": entry.air}]


def _answer() -> dict[str, Any]:
    error = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "string"},
            "message": {"type": "string"},
            "parameter": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "taskUUID": {"type": "string"},
            "taskType": {"type": "string"},
        },
    }
    return {
        "type": "object",
        "properties": {
            "data": {"type": "array", "items": {"type": "object", "required": ["taskType"]}},
            "errors": {"type": "array", "minItems": 1, "items": error},
            "error": error,
        },
    }
