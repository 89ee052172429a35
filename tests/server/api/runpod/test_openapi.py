from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.runpod.endpoints import ENDPOINTS
from server.api.runpod.openapi import EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_can_be_sent(client: TestClient, name: str) -> None:
    endpoint, body = EXAMPLES[name]
    assert client.post(f"/v2/{endpoint}/runsync", json=body).json()["status"] == "COMPLETED"


def test_every_operation_is_described(client: TestClient) -> None:
    document: dict[str, Any] = client.get("/openapi.json").json()
    served = {path for route in client.app.routes if (path := getattr(route, "path", "")).startswith("/v2/")}  # type: ignore[attr-defined]
    assert {path for path in document["paths"] if path.startswith("/v2/")} == served
    shown = document["paths"]["/v2/{endpoint}/run"]["post"]
    assert shown["parameters"][0]["schema"]["examples"] == list(ENDPOINTS)
    schemas = document["components"]["schemas"]
    assert {"JobBody", "JobInput", "Policy", "RunpodJob", "RunpodError"} <= schemas.keys()
    assert schemas["JobInput"]["required"] == ["prompt"]
