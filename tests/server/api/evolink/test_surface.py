import pytest
from starlette.testclient import TestClient

from tests.server.api.evolink.conftest import BODY, CREATE, FILES, TASKS


@pytest.mark.parametrize(("headers", "body"), [({}, BODY), ({"X-Evo-Client": "mcp"}, {"model": "a", "prompt": "b"})])
def test_its_calls_are_recognized(client: TestClient, headers: dict[str, str], body: dict[str, str]) -> None:
    assert client.post(CREATE, json=body, headers=headers).headers["ownware-dialect"] == "evolink"


def test_a_call_without_pictures_is_the_other_vendors(client: TestClient) -> None:
    response = client.post(CREATE, json={"model": "qwen-image-edit-plus", "prompt": "a"})
    assert response.headers["ownware-dialect"] == "openai"
    assert (response.status_code, response.json()["error"]["param"]) == (400, "image_urls")
    response = client.post("/evolink" + CREATE, json={"model": "qwen-image-edit-plus", "prompt": "a"})
    assert response.headers["ownware-dialect"] == "evolink"
    assert (response.status_code, response.json()["error"]["param"]) == (400, "image_urls")


@pytest.mark.parametrize("prefix", ["", "/evolink"])
def test_everything_is_under_its_own_prefix_too(client: TestClient, prefix: str) -> None:
    task_id = client.post(prefix + CREATE, json=BODY).json()["id"]
    assert client.get(f"{prefix}{TASKS}/{task_id}").json()["id"] == task_id
    assert client.get(prefix + TASKS).json()["total"] == 1
    assert client.get(f"{prefix}{FILES}/quota").json()["success"]
    assert client.get(f"{prefix}/v1/credits").json()["data"]["token"]["unlimited_credits"]


def test_the_models_that_take_pictures(client: TestClient) -> None:
    names = [row["id"] for row in client.get("/evolink/v1/models").json()["data"]]
    assert "alibaba-qwen-image-edit-plus" in names
    assert "alibaba-qwen-image" not in names


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/evolink/v1/nothing", 404, "not_found"),
        ("GET", FILES + "/nothing/at/all", 404, "not_found"),
        ("PUT", FILES + "/list", 400, "invalid_request"),
        ("GET", TASKS + "/batch", 400, "invalid_task_id"),
    ],
)
def test_errors_of_its_paths_are_in_its_shape(
    shared_client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    response = shared_client.request(method, path)
    assert response.json()["error"].keys() >= {"code", "message", "type"}
    assert response.json()["error"]["code"] == code
    assert response.status_code in (status, 405)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", CREATE), ("GET", TASKS), ("GET", TASKS + "/a"), ("POST", TASKS + "/batch"), ("GET", FILES + "/list"),
     ("POST", FILES + "/upload/base64"), ("POST", FILES + "/upload/stream"), ("GET", "/v1/credits")],
)  # fmt: skip
def test_a_key_is_asked_for(shared_client: TestClient, method: str, path: str) -> None:
    response = shared_client.request(
        method, path, headers={"Authorization": "Bearer three", "X-Evo-Client": "a"}, content=b""
    )
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["type"]) == (401, "unauthorized", "authentication_error")
