"""The OpenAPI description of RunPod's queue API, with examples that can be sent."""

from typing import Any

from server.api.openapi_schemas import add_schemas, json_content, reference
from server.api.runpod.endpoints import ENDPOINTS
from server.api.runpod.schema import JobBody, JobInput, Policy
from server.api.sample_picture import SAMPLE_PICTURE

TAG = "RunPod"
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "Text to image": (
        "qwen-image-t2i",
        {
            "input": {
                "prompt": "a large red circle at the center on a white background",
                "size": "512*512",
                "seed": 7,
                "output_format": "png",
            }
        },
    ),
    "Edit an image": (
        "qwen-image-edit",
        {"input": {"prompt": "make the large red circle blue", "image": SAMPLE_PICTURE, "seed": 7}},
    ),
}
_JOB = {
    "type": "object",
    "required": ["id", "status"],
    "properties": {
        "id": {"type": "string"},
        "status": {
            "type": "string",
            "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"],
        },
        "delayTime": {"type": "integer", "description": "Milliseconds in the queue."},
        "executionTime": {"type": "integer", "description": "Milliseconds in the worker."},
        "workerId": {"type": "string"},
        "output": {
            "type": "object",
            "properties": {
                "image_url": {"type": "string"},
                "result": {"type": "string", "description": "The same URL."},
                "cost": {"type": "number"},
            },
        },
        "error": {"type": "string"},
    },
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
# Path, method and summary of each operation that has no body.
_OTHERS = (
    ("/status/{job_id}", "get", "The state of a job"),
    ("/status-sync/{job_id}", "get", "The state of a job, once it has ended or the wait is over"),
    ("/stream/{job_id}", "get", "The output of a job, once"),
    ("/cancel/{job_id}", "post", "Cancel a job"),
    ("/retry/{job_id}", "post", "Run a failed job again"),
    ("/purge-queue", "post", "Cancel the waiting jobs of an endpoint"),
    ("/health", "get", "Counts of jobs and workers"),
)


def describe(document: dict[str, Any]) -> None:
    """Add the operations, the types of their bodies, and an example for each kind of endpoint."""
    add_schemas(document, [JobBody, JobInput, Policy], {"RunpodJob": _JOB, "RunpodError": _ERROR})
    body = document["components"]["schemas"]["JobBody"]["properties"]
    body["input"] = reference("JobInput")
    body["policy"] = reference("Policy")
    examples = {name: {"value": value, "summary": f"{endpoint}"} for name, (endpoint, value) in EXAMPLES.items()}
    content = json_content("JobBody")
    content["application/json"]["examples"] = examples
    for path, summary in (("/run", "Accept a job"), ("/runsync", "Accept a job and wait for it")):
        document["paths"].setdefault("/v2/{endpoint}" + path, {})["post"] = _operation(path, summary) | {
            "requestBody": {"required": True, "content": content}
        }
    for path, method, summary in _OTHERS:
        document["paths"].setdefault("/v2/{endpoint}" + path, {})[method] = _operation(path, summary)


def _operation(path: str, summary: str) -> dict[str, Any]:
    names = ["endpoint", "job_id"] if "{job_id}" in path else ["endpoint"]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    parameters[0]["schema"] |= {"examples": list(ENDPOINTS)}
    plain = path in ("/purge-queue", "/health")
    answer = {"application/json": {"schema": {"type": "object"}}} if plain else json_content("RunpodJob")
    error = {"content": json_content("RunpodError")}
    return {
        "summary": summary,
        "tags": [TAG],
        "security": [{"key": []}, {}],
        "parameters": parameters,
        "responses": {
            "200": {"description": summary + ".", "content": answer},
            "400": {"description": "Wrong parameters."} | error,
            "401": {"description": "Missing or wrong API key."} | error,
            "404": {"description": "No such endpoint, or no such job."} | error,
            "429": {"description": "The queue is full."} | error,
        },
    }
