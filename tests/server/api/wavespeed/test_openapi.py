from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.wavespeed.openapi import EXAMPLES
from tests.server.api.wavespeed.common import ROOT, data_of


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_can_be_sent(client: TestClient, name: str) -> None:
    model, body = EXAMPLES[name]
    assert data_of(client.post(f"{ROOT}/{model}", json=body))["status"] == "completed"


def test_the_operations_are_described(client: TestClient) -> None:
    document: dict[str, Any] = client.get("/openapi.json").json()
    paths = {path for path in document["paths"] if path.startswith(f"{ROOT}/")}
    served = {getattr(route, "path", "").replace(":path", "") for route in client.app.routes}  # type: ignore[attr-defined]
    assert paths <= served
    assert len(paths) > 9
    submit = document["paths"][ROOT + "/{model}"]["post"]
    assert set(submit["requestBody"]["content"]["application/json"]["examples"]) == set(EXAMPLES)
    assert "PredictionInput" in document["components"]["schemas"]
