"""The OpenAPI description of WaveSpeed's API, with examples that can be sent."""

from typing import Any

from pydantic import BaseModel

from server.api.openapi_schemas import add_schemas, json_content, reference
from server.api.sample_picture import SAMPLE_PICTURE
from server.api.wavespeed.predictions import ROOT
from server.api.wavespeed.schema import Deletion, HistoryQuery, PredictionInput, PriceQuery, UploadTicket

TAG = "WaveSpeed"
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "Text to image": (
        "wavespeed-ai/qwen-image/text-to-image",
        {
            "prompt": "a large red circle at the center on a white background",
            "size": "512*512",
            "seed": 7,
            "enable_sync_mode": True,
        },
    ),
    "Edit an image": (
        "wavespeed-ai/qwen-image/edit",
        {"prompt": "make the large red circle blue", "image": SAMPLE_PICTURE, "seed": 7, "enable_sync_mode": True},
    ),
}
_PREDICTION = {
    "type": "object",
    "required": ["id", "model", "outputs", "urls", "has_nsfw_contents", "status", "created_at", "error", "timings"],
    "properties": {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "outputs": {"type": "array", "items": {"type": "string"}},
        "urls": {"type": "object", "properties": {"get": {"type": "string"}}},
        "has_nsfw_contents": {"type": "array", "items": {"type": "boolean"}},
        "status": {
            "type": "string",
            "enum": ["created", "processing", "completed", "failed", "cancelled", "timeout"],
        },
        "created_at": {"type": "string", "format": "date-time"},
        "error": {"type": "string", "description": "Empty if no error occurred."},
        "code": {"type": "integer", "description": "Of a failure: 1200 to 5004."},
        "timings": {"type": "object", "properties": {"inference": {"type": "integer", "description": "Milliseconds."}}},
    },
}
_ERROR = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "error_code": {"type": "string"}},
}
# Path, method, summary, and the model of the body if there is one.
_OTHERS = (
    ("/predictions/{prediction_id}/result", "get", "The state and the outputs of a prediction", None),
    ("/predictions/{prediction_id}", "get", "The same", None),
    ("/predictions", "post", "List predictions", HistoryQuery),
    ("/predictions/delete", "post", "Delete predictions", Deletion),
    ("/media/uploads", "post", "Get a ticket to upload a file", UploadTicket),
    ("/media/upload/binary", "post", "Upload a file as a form", None),
    ("/models", "get", "List the models", None),
    ("/model/price", "post", "The price of a prediction, which is 0", PriceQuery),
    ("/balance", "get", "The balance, which is 0", None),
    ("/webhook/secret", "get", "The secret that signs your webhooks", None),
)


def describe(document: dict[str, Any]) -> None:
    """Add the operations and the types of their bodies."""
    models = (PredictionInput, HistoryQuery, Deletion, UploadTicket, PriceQuery)
    add_schemas(document, models, {"Prediction": _PREDICTION, "WaveSpeedError": _ERROR})
    examples = {name: {"value": value, "summary": model} for name, (model, value) in EXAMPLES.items()}
    submit = _operation("/{model}", "Submit a prediction", PredictionInput)
    submit["parameters"][0]["schema"]["examples"] = [model for model, _ in EXAMPLES.values()]
    submit["requestBody"]["content"]["application/json"]["examples"] = examples
    document["paths"].setdefault(ROOT + "/{model}", {})["post"] = submit
    for path, method, summary, model in _OTHERS:
        document["paths"].setdefault(ROOT + path, {})[method] = _operation(path, summary, model)


def _operation(path: str, summary: str, model: type[BaseModel] | None) -> dict[str, Any]:
    parts = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    error = {"content": json_content("WaveSpeedError")}
    data = reference("Prediction") if parts else {}
    answer = {
        "type": "object",
        "required": ["code", "message", "data"],
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "data": data},
    }
    found: dict[str, Any] = {
        "summary": summary,
        "tags": [TAG],
        "security": [{"key": []}, {}],
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parts],
        "responses": {
            "200": {"description": summary + ".", "content": {"application/json": {"schema": answer}}},
            "400": {"description": "Wrong parameters."} | error,
            "401": {"description": "Missing or wrong API key."} | error,
            "404": {"description": "No such model, prediction or file."} | error,
            "429": {"description": "The queue is full."} | error,
        },
    }
    if model is not None:
        found["requestBody"] = {"required": True, "content": json_content(model.__name__)}
    return found
