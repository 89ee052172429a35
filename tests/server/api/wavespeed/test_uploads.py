from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.wavespeed import uploads
from tests.fakes import FakeWorker, picture
from tests.server.api.wavespeed.common import EDIT, ROOT, TWO, data_of, end_of, submit

PHOTO = picture()


def ticket(client: TestClient, **changes: Any) -> dict[str, Any]:
    wanted = {"filename": "my photo.png", "size": len(PHOTO), "content_type": "image/png"} | changes
    return data_of(client.post(f"{ROOT}/media/uploads", json=wanted))


def put(client: TestClient, found: dict[str, Any], data: bytes = PHOTO) -> Any:
    """Send a file as the vendor's clients do: without a key."""
    del client.headers["Authorization"]
    try:
        return client.put(found["upload"]["url"], content=data, headers=found["upload"]["headers"])
    finally:
        client.headers["Authorization"] = "Bearer one"


def test_a_file_is_put_to_its_ticket_and_edited(client: TestClient, worker: FakeWorker) -> None:
    found = ticket(client)
    assert found["upload"]["method"] == "PUT"
    assert found["upload"]["headers"] == {"Content-Type": "image/png"}
    assert found["download_url"].endswith("/my%20photo.png")
    assert client.get(found["download_url"]).status_code == 404
    assert put(client, found).status_code == 200
    assert client.get(found["download_url"]).headers["content-type"] == "image/png"
    done = data_of(submit(client, EDIT, image=found["download_url"], size=None, enable_sync_mode=True))
    assert done["status"] == "completed"
    done = data_of(submit(client, EDIT, images=[found["download_url"]] * 2, size=None, enable_sync_mode=True))
    assert len(worker.jobs[1].request.references) == 2


def test_a_ticket_is_used_once(client: TestClient) -> None:
    found = ticket(client)
    assert put(client, found).status_code == 200
    assert put(client, found).status_code == 404
    other = ticket(client, content_type=None, filename=None)
    assert other["filename"] == "upload"
    assert found["upload"]["url"] != other["upload"]["url"]
    assert client.put(f"{ROOT}/media/uploads/guessed", content=PHOTO).status_code == 404


def test_a_ticket_is_bound_to_its_size(client: TestClient) -> None:
    assert put(client, ticket(client, size=5)).status_code == 413
    response = put(client, ticket(client, size=len(PHOTO) + 1))
    assert response.status_code == 400
    assert response.json()["message"] == f"The file has {len(PHOTO)} bytes; {len(PHOTO) + 1} were announced."
    assert client.post(f"{ROOT}/media/uploads", json={"size": 10**12}).status_code == 413


def test_a_ticket_expires(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "TICKET_SECONDS", -1)
    found = ticket(client)
    assert put(client, found).status_code == 404
    ticket(client)  # clears what has expired


def test_what_is_no_picture_is_refused(client: TestClient) -> None:
    response = put(client, ticket(client, size=4), b"text")
    assert (response.status_code, response.json()["error_code"]) == (400, "invalidFile")
    form = {"file": ("a.txt", b"text")}
    assert client.post(f"{ROOT}/media/upload/binary", files=form).status_code == 400


def test_another_keys_upload_is_not_edited(client: TestClient, worker: FakeWorker) -> None:
    found = ticket(client)
    put(client, found)
    response = client.post(f"{ROOT}/{EDIT}", json={"prompt": "a", "image": found["download_url"]}, headers=TWO)
    assert end_of(client, data_of(response), headers=TWO)["code"] == 1402
    assert worker.jobs == []


@pytest.mark.parametrize("root", ["/api/v3", "/api/v2"])
def test_a_file_in_a_form(client: TestClient, root: str) -> None:
    found = data_of(client.post(f"{root}/media/upload/binary", files={"file": ("a.png", PHOTO, "image/png")}))
    assert (found["filename"], found["size"], found["type"]) == ("a.png", len(PHOTO), "image")
    assert client.get(found["download_url"]).headers["content-type"] == "image/png"
    done = data_of(submit(client, EDIT, image=found["download_url"], size=None, enable_sync_mode=True))
    assert done["status"] == "completed"
