"""The finished images of a key: listed by pages and filters, and deleted for good."""

import sqlite3
import time
import uuid
from contextlib import closing
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.media.store import Media, MediaStore
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.receivers import Receiver
from tests.server.conftest import error_of, new_task, post, results_of

ONE, OTHER = {"Authorization": "Bearer one"}, {"Authorization": "Bearer other"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_keys": ("one", "other"), "allow_private_urls": True})


@pytest.fixture
def client(client: TestClient) -> TestClient:
    client.headers.update(ONE)
    return client


def made(client: TestClient, **changes: Any) -> list[dict[str, Any]]:
    """The items of a task that is done."""
    return post(client, new_task(**changes)).json()["data"]


def listed(client: TestClient, **query: Any) -> list[str]:
    response = client.get("/v1/images", params=query)
    assert response.status_code == 200, response.text
    return [image["imageUUID"] for image in response.json()["images"]]


def test_an_image_is_listed_with_what_made_it(client: TestClient) -> None:
    task = new_task(outputFormat="PNG", ttl=600)
    (item,) = post(client, task).json()["data"]
    (image,) = client.get("/v1/images").json()["images"]
    assert abs(image["created"] - time.time()) < 60
    assert image.pop("expires") == pytest.approx(image.pop("created") + 600, abs=0.01)
    assert image == {
        "imageUUID": item["imageUUID"],
        "taskUUID": task["taskUUID"],
        "imageURL": item["imageURL"],
        "thumbnailURL": f"http://box:8000/image/{item['imageUUID']}/thumbnail.webp",
        "model": "runware:108@1",
        "prompt": "a red circle",
        "seed": 5,
        "width": 128,
        "height": 128,
        "format": "PNG",
    }
    assert client.get(image["imageURL"]).headers["content-type"] == "image/png"


def test_a_checked_image_says_whether_it_is_safe(client: TestClient, worker: FakeWorker) -> None:
    worker.unsafe = True
    made(client, safety={"checkContent": True})
    assert [image["NSFWContent"] for image in client.get("/v1/images").json()["images"]] == [True]


def test_pages_have_the_latest_first_and_every_image_once(client: TestClient) -> None:
    items = [item["imageUUID"] for number in range(3) for item in made(client, seed=number, numberResults=2)]
    assert listed(client) == items[::-1]
    found, query = [], {"limit": "4"}
    page = client.get("/v1/images", params=query).json()
    found += page["images"]
    # What is made or deleted between two pages shifts none of them.
    made(client, seed=9)
    client.delete(f"/v1/images/{items[-1]}")
    client.delete(f"/v1/images/{found[-1]['imageUUID']}")
    page = client.get("/v1/images", params=query | {"cursor": page["nextCursor"]}).json()
    assert [image["imageUUID"] for image in found + page["images"]] == items[::-1]
    assert "nextCursor" not in page


def test_the_last_page_may_be_full(client: TestClient) -> None:
    made(client, numberResults=2)
    assert "nextCursor" not in client.get("/v1/images?limit=2").json()


def test_filters(client: TestClient, reference: str) -> None:
    (red,) = made(client, positivePrompt="a red circle")
    (green,) = made(client, positivePrompt="ein GRÜNER Kreis, 100%_", seed=2)
    (edited,) = made(client, model="runware:108@20", referenceImages=[reference], positivePrompt="make it red")
    assert listed(client, prompt="RED") == [edited["imageUUID"], red["imageUUID"]]
    assert listed(client, prompt="grüner") == [green["imageUUID"]]
    assert listed(client, prompt="%_") == [green["imageUUID"]]
    assert listed(client, prompt="_") == [green["imageUUID"]]
    assert listed(client, model="runware:108@20") == [edited["imageUUID"]]
    assert listed(client, model="alibaba-qwen-image-edit") == [edited["imageUUID"]]
    assert listed(client, model="RUNWARE:108@1", prompt="red") == [red["imageUUID"]]
    assert listed(client, model="gone:1@1") == []
    assert listed(client, taskUUID=green["taskUUID"].upper()) == [green["imageUUID"]]
    assert listed(client, imageUUID=green["imageUUID"].upper()) == [green["imageUUID"]]


@pytest.mark.parametrize(
    ("query", "code", "parameter"),
    [
        ("limit=0", "invalidLimit", "limit"),
        ("limit=101", "invalidLimit", "limit"),
        ("limit=x", "invalidLimit", "limit"),
        ("cursor=garbage", "invalidCursor", "cursor"),
        ("cursor=", "invalidCursor", "cursor"),
        ("cursor=-1", "invalidCursor", "cursor"),
        ("cursor=1%20OR%201", "invalidCursor", "cursor"),
        ("cursor=99999999999999999999", "invalidCursor", "cursor"),
        ("cursor=%F0%9F%98%80", "invalidCursor", "cursor"),
        ("model=", "invalidModel", "model"),
        (f"prompt={'a' * 1001}", "invalidPrompt", "prompt"),
        ("promt=red", "unknownParameter", "promt"),
    ],
)
def test_what_cannot_be_meant_is_refused(shared_client: TestClient, query: str, code: str, parameter: str) -> None:
    response = shared_client.get(f"/v1/images?{query}")
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["parameter"]) == (code, parameter)


def test_a_cursor_that_points_beyond_the_end_finds_nothing(client: TestClient) -> None:
    made(client)
    assert listed(client, cursor="1") == []


def test_another_key_sees_and_deletes_nothing(client: TestClient) -> None:
    (item,) = made(client)
    assert client.get("/v1/images", headers=OTHER).json() == {"images": []}
    response = client.delete(f"/v1/images/{item['imageUUID']}", headers=OTHER)
    assert (response.status_code, error_of(response)["code"]) == (404, "imageNotFound")
    assert client.get(item["imageURL"]).status_code == 200
    for answer in (
        client.get("/v1/images", headers={"Authorization": ""}),
        client.delete(f"/v1/images/{uuid.uuid4()}", headers={"Authorization": "x"}),
    ):
        assert answer.status_code == 401


def test_an_image_is_deleted_once(client: TestClient, settings: Settings) -> None:
    (item, kept) = made(client, numberResults=2)
    (file,) = (settings.data_dir / "media").rglob(f"{item['imageUUID']}.*")
    first = client.delete(f"/v1/images/{item['imageUUID'].upper()}")
    assert (first.status_code, first.content) == (204, b"")
    assert not file.exists()
    again = client.delete(f"/v1/images/{item['imageUUID']}")
    assert (again.status_code, error_of(again)["code"]) == (404, "imageNotFound")
    assert client.get(item["imageURL"]).status_code == 404
    assert client.get(f"/v1/receipts/{item['imageUUID']}").status_code == 404
    assert listed(client) == [kept["imageUUID"]]
    with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection:
        for table, column in (("media", "uuid"), ("gallery", "image_uuid")):
            query = f"SELECT count(*) FROM {table} WHERE {column} = ?"
            assert connection.execute(query, (item["imageUUID"],)).fetchone() == (0,)


def test_only_finished_images_are_deleted_here(client: TestClient, reference: str) -> None:
    upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": reference}
    (uploaded,) = post(client, upload).json()["data"]
    assert listed(client) == []
    assert client.delete(f"/v1/images/{uploaded['imageUUID']}").status_code == 404
    assert client.get(uploaded["imageURL"]).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("DELETE", "/v1/images/no-uuid", 404, "routeNotFound"),
        ("DELETE", "/v1/images/..%2f..%2fownware.sqlite", 404, "routeNotFound"),
        ("DELETE", "/v1/images", 405, "unsupportedMethod"),
        ("POST", "/v1/images", 405, "unsupportedMethod"),
        ("GET", f"/v1/images/{uuid.UUID(int=1)}", 405, "unsupportedMethod"),
    ],
)
def test_other_calls_are_answered_in_our_words(
    shared_client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    response = shared_client.request(method, path)
    assert (response.status_code, error_of(response)["code"]) == (status, code)


def test_expired_images_are_not_listed(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    (short,) = made(client, ttl=60)
    (longer,) = made(client, ttl=6000, seed=2)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert listed(client) == [longer["imageUUID"]]
    assert client.delete(f"/v1/images/{short['imageUUID']}").status_code == 404


def test_an_image_whose_file_is_gone_is_not_listed(client: TestClient, settings: Settings) -> None:
    (item,) = made(client)
    (file,) = (settings.data_dir / "media").rglob(f"{item['imageUUID']}.*")
    file.unlink()
    assert listed(client) == []


def test_an_image_outlives_its_task(client: TestClient, settings: Settings) -> None:
    (item,) = made(client)
    with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM jobs")
    assert listed(client, prompt="red circle") == [item["imageUUID"]]


def test_one_that_an_open_task_edits_is_gone_for_all_others(
    client: TestClient, worker: FakeWorker, settings: Settings
) -> None:
    (item,) = made(client)
    worker.hold()
    edit = new_task(model="runware:108@20", referenceImages=[item["imageUUID"]], deliveryMethod="async")
    post(client, edit)
    worker.held.wait(10)
    used = worker.jobs[-1].request.references[0].path
    assert client.delete(f"/v1/images/{item['imageUUID']}").status_code == 204
    assert listed(client) == []
    assert client.get(item["imageURL"]).status_code == 404
    assert used.exists()
    worker.release()
    (edited,) = results_of(client, edit, wanted="success")
    assert listed(client) == [edited["imageUUID"]]


def test_one_that_is_uploaded_is_listed_once_the_upload_has_ended(client: TestClient, there: Receiver) -> None:
    (item,) = made(client, uploadEndpoint=f"{there.url}/ok")
    waiting = new_task(uploadEndpoint=f"{there.url}/hang", deliveryMethod="async")
    post(client, waiting)
    there.wait_for(1, "/hang")
    assert listed(client) == [item["imageUUID"]]


def test_one_whose_upload_was_refused_is_listed(client: TestClient, there: Receiver) -> None:
    refused = post(client, new_task(uploadEndpoint=f"{there.url}/refuse"))
    assert error_of(refused)["code"] == "uploadFailed"
    assert len(listed(client)) == 1


def test_a_file_that_is_deleted_after_its_row_was_read_is_not_found(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = made(client)
    get = MediaStore.get

    def lose(media: Media | None) -> None:
        assert media is not None
        media.path.unlink()

    async def get_and_lose(store: MediaStore, media_uuid: str, *, owner: str | None) -> Any:
        media = await get(store, media_uuid, owner=owner)
        lose(media)
        return media

    monkeypatch.setattr(MediaStore, "get", get_and_lose)
    response = client.get(item["imageURL"])
    assert (response.status_code, error_of(response)["code"]) == (404, "imageNotFound")


def test_they_are_described(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {parameter["name"] for parameter in paths["/v1/images"]["get"]["parameters"]} == {
        "limit",
        "cursor",
        "model",
        "prompt",
        "taskUUID",
        "imageUUID",
    }
    assert {"204", "401", "404"} <= paths["/v1/images/{image_uuid}"]["delete"]["responses"].keys()
