"""Uploads in each of the three ways, and the list of a key's files."""

import base64
from datetime import datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.evolink.files import KEPT_SECONDS
from tests.fakes import picture
from tests.server.api.evolink.conftest import BODY, CREATE, FILES, PICTURE, PNG

BASE64 = PICTURE.partition(",")[2]
KEYS = {
    "file_id", "file_name", "original_name", "file_size", "mime_type", "upload_path", "file_url", "download_url",
    "upload_time", "expires_at",
}  # fmt: skip


def upload(client: TestClient, **fields: Any) -> Any:
    return client.post(f"{FILES}/upload/base64", json={"base64_data": BASE64, **fields})


@pytest.mark.parametrize("data", [BASE64, PICTURE])
def test_base64(client: TestClient, data: str) -> None:
    body = upload(client, base64_data=data, file_name="photo.png", upload_path="in").json()
    assert (body["success"], body["code"], body["data"].keys()) == (True, 200, KEYS)
    file = body["data"]
    assert (file["original_name"], file["upload_path"], file["file_size"]) == ("photo.png", "in", len(PNG))
    assert client.get(file["file_url"]).content == PNG


def test_a_form_and_a_task_that_names_the_file(client: TestClient) -> None:
    files = {"file": ("photo.png", PNG, "image/png")}
    file = client.post(f"{FILES}/upload/stream", files=files, data={"file_name": "mine.png"}).json()["data"]
    assert file["original_name"] == "mine.png"
    assert client.post(CREATE, json=BODY | {"image_urls": [file["file_url"]]}).status_code == 200


def test_a_list_its_usage_and_the_end_of_a_file(client: TestClient) -> None:
    first = upload(client).json()["data"]
    data = base64.b64encode(picture(500, 400)).decode()
    second = upload(client, base64_data=data).json()["data"]
    listed = client.get(f"{FILES}/list").json()["data"]
    assert ([file["file_id"] for file in listed["files"]], listed["total"]) == (
        [second["file_id"], first["file_id"]],
        2,
    )
    assert client.get(f"{FILES}/quota").json()["data"]["used_files"] == 2
    other = {"Authorization": "Bearer two"}
    assert client.get(f"{FILES}/list", headers=other).json()["data"]["files"] == []
    assert client.delete(f"{FILES}/{first['file_id']}", headers=other).status_code == 404
    assert client.delete(f"{FILES}/{first['file_id']}").json()["success"]
    assert client.get(first["file_url"]).status_code == 404
    assert client.delete(f"{FILES}/{first['file_id']}").json()["error"]["param"] == "file_id"
    assert client.get(f"{FILES}/list").json()["data"]["total"] == 1


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("base64", {}, "base64_data"),
        ("base64", {"base64_data": "?"}, "base64_data"),
        ("base64", {"base64_data": base64.b64encode(b"no picture").decode()}, "base64_data"),
        ("base64", {"base64_data": "="}, "base64_data"),
        ("base64", {"base64_data": BASE64, "file_name": 5}, "file_name"),
        ("url", {}, "file_url"),
        ("url", {"file_url": "http://127.0.0.1/a.png"}, "file_url"),
        ("url", {"file_url": "/etc/passwd"}, "file_url"),
    ],
)
def test_what_is_refused(shared_client: TestClient, path: str, body: dict[str, Any], param: str) -> None:
    response = shared_client.post(f"{FILES}/upload/{path}", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_request", param)


def test_a_form_without_a_file(client: TestClient) -> None:
    response = client.post(f"{FILES}/upload/stream", files={"file_name": (None, "a")})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "file")


def test_a_file_is_kept_for_72_hours(client: TestClient) -> None:
    file = upload(client).json()["data"]
    times = [datetime.fromisoformat(file[name]) for name in ("upload_time", "expires_at")]
    assert (times[1] - times[0]).total_seconds() == KEPT_SECONDS == 72 * 3600
