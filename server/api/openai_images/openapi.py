"""The OpenAPI description of the image calls, with examples that can be sent. It is built from their fields."""

from typing import Any

from pydantic import BaseModel

from server.api.openai_images.fields import EditFields, GenerationFields
from server.api.openapi_schemas import add_schemas, json_content, reference

TAG = "OpenAI Images"

EXAMPLES: dict[str, tuple[type[BaseModel], str, dict[str, Any]]] = {
    "/v1/images/generations": (
        GenerationFields,
        "Text to image",
        {"prompt": "a large red circle at the center on a white background", "size": "512x512", "seed": 7},
    ),
    "/v1/images/edits": (
        EditFields,
        "Edit an image",
        {
            "prompt": "make the large red circle blue",
            "images": [{"image_url": "<URL or data URI of the image>"}],
            "seed": 7,
        },
    ),
}


def describe(document: dict[str, Any]) -> None:
    """Add the calls to the document."""
    models = [model for model, _, _ in EXAMPLES.values()]
    add_schemas(document, models, {"OpenAIImages": _images(), "OpenAIError": _error()})
    for path, (model, summary, example) in EXAMPLES.items():
        content = json_content(model.__name__)
        content["application/json"]["examples"] = {summary: {"value": example}}
        if model is EditFields:
            content["multipart/form-data"] = {"schema": reference(model.__name__)}
        document["paths"][path] = {
            "post": {
                "tags": [TAG],
                "summary": summary,
                "requestBody": {"required": True, "content": content},
                "responses": {"200": _json("The images", "OpenAIImages"), "4XX": _json("A refusal", "OpenAIError")},
            }
        }


def _json(text: str, model: str) -> dict[str, Any]:
    return {"description": text, "content": json_content(model)}


def _images() -> dict[str, Any]:
    item = {"type": "object", "properties": {"b64_json": {"type": "string"}, "url": {"type": "string"}}}
    texts = {name: {"type": "string"} for name in ("background", "output_format", "quality", "size")}
    properties = {"created": {"type": "integer"}, "data": {"type": "array", "items": item}, **texts}
    return {
        "type": "object",
        "properties": {**properties, "usage": {"type": "object"}},
        "required": ["created", "data"],
    }


def _error() -> dict[str, Any]:
    texts = {name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")}
    return {"type": "object", "properties": {"error": {"type": "object", "properties": texts}}}
