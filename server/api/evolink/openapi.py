"""The OpenAPI description of EvoLink's calls, with an example that can be sent. It is built from their fields."""

from typing import Any

from server.api.evolink.fields import BatchFields, CreateFields
from server.api.openapi_schemas import add_schemas, json_content

TAG = "EvoLink"
EXAMPLE = {
    "model": "qwen-image-edit-plus",
    "prompt": "make the large red circle blue",
    "image_urls": ["<URL or data URI of the image>"],
    "seed": 7,
}
_TASK_ID = {"name": "task_id", "in": "path", "required": True, "schema": {"type": "string"}}


def describe(document: dict[str, Any]) -> None:
    """Add the calls to the document."""
    add_schemas(document, [CreateFields, BatchFields], {"EvoLinkTask": _task()})
    create = _call("Edit pictures", CreateFields.__name__)
    create["requestBody"]["content"]["application/json"]["examples"] = {"Edit a picture": {"value": EXAMPLE}}
    query = _call("A task", None) | {"parameters": [_TASK_ID]}
    paths = document["paths"]
    paths["/evolink/v1/images/generations"] = {"post": create}
    paths["/evolink/v1/tasks/{task_id}"] = {"get": query}
    paths["/evolink/v1/tasks/batch"] = {"post": _call("Several tasks", BatchFields.__name__)}


def _call(summary: str, model: str | None) -> dict[str, Any]:
    call: dict[str, Any] = {
        "tags": [TAG],
        "summary": summary,
        "responses": {"200": {"description": "The task", "content": json_content("EvoLinkTask")}},
    }
    if model is not None:
        call["requestBody"] = {"required": True, "content": json_content(model)}
    return call


def _task() -> dict[str, Any]:
    texts = {name: {"type": "string"} for name in ("id", "model", "object", "status", "type")}
    integers = {name: {"type": "integer"} for name in ("created", "progress")}
    results = {"results": {"type": "array", "items": {"type": "string"}}, "error": {"type": "object"}}
    return {"type": "object", "properties": texts | integers | results | {"task_info": {"type": "object"}}}
