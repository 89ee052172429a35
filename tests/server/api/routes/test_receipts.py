import json

import pytest
from starlette.testclient import TestClient

from tests.server.conftest import new_task, post


def test_a_drawn_image_has_one(client: TestClient) -> None:
    (item,) = post(client, new_task()).json()["data"]
    body = client.get(f"/v1/receipts/{item['imageUUID']}").json()
    assert body["imageUUID"] == item["imageUUID"]
    assert len(body["sha256"]) == 64
    assert body["receipt"] == {}  # what the fake worker says


@pytest.mark.parametrize("name", ["nothing", "7b1f6f0e-2c3b-4a55-9d43-0a4a0f3e7b10", "%00"])
def test_others_have_none(shared_client: TestClient, name: str) -> None:
    response = shared_client.get(f"/v1/receipts/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "imageNotFound"


def test_it_goes_with_its_image(client: TestClient) -> None:
    (item,) = post(client, new_task()).json()["data"]
    task = {"taskType": "mediaStorage", "operation": "delete", "media": item["imageUUID"]}
    assert post(client, task | {"taskUUID": new_task()["taskUUID"]}).status_code == 200
    assert client.get(f"/v1/receipts/{item['imageUUID']}").status_code == 404


def test_it_is_in_the_api_pages(client: TestClient) -> None:
    assert "/v1/receipts/{image_uuid}" in json.loads(client.get("/openapi.json").text)["paths"]
