from dataclasses import replace
from typing import Any

from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.runware.schema.tasks import TASKS
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import post


def test_the_document_describes_every_task(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/v1"]["post"]["requestBody"]["content"]["application/json"]
    assert set(body["schema"]["items"]["discriminator"]["mapping"]) == set(TASKS)
    schemas = document["components"]["schemas"]
    assert schemas["ImageInference"]["required"] == ["taskUUID", "taskType", "model", "positivePrompt"]
    assert resolved(document, body["schema"])


def test_the_examples_are_accepted(client: TestClient, reference: str) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/v1"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        for task in example["value"]:
            if "inputs" in task:
                task["inputs"]["referenceImages"] = [reference]
            if "inputImage" in task:
                task["inputImage"] = reference
            assert post(client, task).status_code == 200


def test_the_examples_name_served_models(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    painter, editor = catalog.entries[:2]
    own = replace(painter, air="me:paint@1"), replace(editor, air="me:edit@1")
    for entries in (own, own[:1], own[1:]):
        app = create_app(settings, replace(catalog, entries=entries), [worker])
        document = TestClient(app).get("/openapi.json").json()
        examples = document["paths"]["/v1"]["post"]["requestBody"]["content"]["application/json"]["examples"]
        named = [task["model"] for example in examples.values() for task in example["value"] if "model" in task]
        assert named == [entry.air for entry in entries]


def resolved(document: dict[str, Any], node: Any) -> bool:
    """Follow every reference below a node; a dangling one raises KeyError."""
    if isinstance(node, dict):
        if "$ref" in node:
            target = document
            for name in node["$ref"].removeprefix("#/").split("/"):
                target = target[name]
            node = target
        return all(resolved(document, value) for value in node.values())
    return not isinstance(node, list) or all(resolved(document, value) for value in node)
