import pytest
from starlette.testclient import TestClient

from server.api.runware.surface import RunwareSurface
from tests.server.conftest import error_of, new_task


@pytest.mark.parametrize("path", RunwareSurface.paths)
def test_tasks_are_taken_on_each_path(client: TestClient, path: str) -> None:
    task = new_task()
    (item,) = client.post(path, json=[task]).json()["data"]
    assert item["taskUUID"] == task["taskUUID"]
    with client.websocket_connect(path) as socket:
        socket.send_json([{"taskType": "authentication", "apiKey": "any"}])
        assert socket.receive_json()["data"][0]["taskType"] == "authentication"


def test_one_path_is_documented(client: TestClient) -> None:
    assert {"/v1"} == {path for path in client.get("/openapi.json").json()["paths"] if path in RunwareSurface.paths}


def test_what_reaches_no_task_is_answered_in_the_same_shape(client: TestClient) -> None:
    assert error_of(client.get("/v1"))["code"] == "unsupportedMethod"
    assert error_of(client.get("/nothing"))["code"] == "routeNotFound"
