import pytest
from starlette.testclient import TestClient

from tests.server.api.openai_images.conftest import EDITS, GENERATIONS, MODELS

BODY = {"prompt": "a red circle", "size": "128x128"}


@pytest.mark.parametrize("prefix", ["", "/openai"])
def test_the_models_that_a_call_can_name(client: TestClient, prefix: str) -> None:
    listed = client.get(prefix + MODELS).json()
    assert listed["object"] == "list"
    assert all(row.keys() == {"id", "object", "created", "owned_by"} for row in listed["data"])
    names = [row["id"] for row in listed["data"]]
    assert {"qwen-image", "qwen-image-edit-2511", "runware:108@22", "gpt-image-1"} <= {*names}
    assert len(names) == len({*names})
    assert client.get(f"{prefix}{MODELS}/runware:108@22").json()["id"] == "runware:108@22"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", MODELS + "/dall-e-9", 404, "model_not_found"),
        ("GET", "/v1/images/variations", 404, "route_not_found"),
        ("GET", EDITS, 405, "unsupported_method"),
        ("GET", GENERATIONS, 405, "unsupported_method"),
        ("DELETE", MODELS, 405, "unsupported_method"),
        ("GET", "/openai/v2", 404, "route_not_found"),
    ],
)
def test_errors_of_its_paths_are_in_its_shape(
    shared_client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    response = shared_client.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("key", [{}, {"Authorization": "Bearer three"}])
@pytest.mark.parametrize(("method", "path"), [("POST", GENERATIONS), ("POST", EDITS), ("GET", MODELS)])
def test_a_key_is_asked_for_before_anything_is_read(
    client: TestClient, method: str, path: str, key: dict[str, str]
) -> None:
    client.headers.pop("Authorization")
    response = client.request(method, path, headers=key, content=b"a" * 100)
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == (401, "authentication_error", "invalid_api_key")


def test_a_key_sees_its_own_pictures_alone(client: TestClient) -> None:
    (item,) = client.post(GENERATIONS, json={**BODY, "response_format": "url"}).json()["data"]
    body = {"prompt": "a", "image": item["url"]}
    assert client.post(EDITS, json=body).status_code == 200
    response = client.post(EDITS, json=body, headers={"Authorization": "Bearer two"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "image[0]")


def test_its_tasks_are_found_and_described_by_the_server(client: TestClient) -> None:
    task_id = client.post(GENERATIONS, json=BODY).headers["x-request-id"]
    asking = [{"taskType": "getResponse", "taskUUID": task_id}, {"taskType": "getTaskDetails", "taskUUID": task_id}]
    result, details = client.post("/v1", json=asking).json()["data"]
    assert (result["taskUUID"], result["status"]) == (task_id, "success")
    assert details["state"] == "done"


def test_the_page_describes_it(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for path in (GENERATIONS, EDITS):
        (example,) = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"].values()
        assert example["value"]["prompt"]
    assert {"GenerationFields", "EditFields", "OpenAIImages", "OpenAIError"} <= document["components"]["schemas"].keys()
