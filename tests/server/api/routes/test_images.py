import errno
import io
import time
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from server.media.thumbnails import LONGEST_SIDE, Thumbnails
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post


def test_they_expire(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = post(client, new_task(ttl=60)).json()["data"]
    image = client.get(item["imageURL"])
    assert image.status_code == 200
    assert 55 <= int(image.headers["cache-control"].split("=")[1]) <= 60
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    response = client.get(item["imageURL"])
    assert response.status_code == 404
    assert error_of(response)["code"] == "imageNotFound"


def test_a_base64_result_that_expired_is_an_error(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    task = new_task(outputType="base64Data")
    post(client, task)
    later = time.time() + 86_500
    monkeypatch.setattr(time, "time", lambda: later)
    body = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()
    assert [error["code"] for error in body["errors"]] == ["imageNotFound"]


GONE = "3f0e8a52-6d0b-4a3e-9f5e-1f2d3c4b5a69.jpg"


@pytest.mark.parametrize("name", ["x.jpg", GONE, "..%2fownware.sqlite", "%00"])
def test_there_is_nothing_else(shared_client: TestClient, name: str) -> None:
    response = shared_client.get(f"/image/{name}")
    assert response.status_code == 404
    assert error_of(response)["code"] in ("imageNotFound", "routeNotFound")


def test_what_a_client_sent_along_is_not_published(client: TestClient, worker: FakeWorker, reference: str) -> None:
    post(client, new_task(model="runware:108@20", referenceImages=[reference]))
    kept = worker.jobs[0].request.references[0].path
    assert kept.exists()
    assert client.get(f"/image/{kept.name}").status_code == 404
    assert client.get(f"/image/{kept.stem}").status_code == 404


def test_another_extension_is_another_image(client: TestClient) -> None:
    (item,) = post(client, new_task()).json()["data"]
    assert client.get(item["imageURL"].replace(".jpg", ".png")).status_code == 404
    assert client.head(item["imageURL"]).status_code == 200


def test_a_uuid_alone_leads_to_the_image(client: TestClient) -> None:
    (item,) = post(client, new_task()).json()["data"]
    found = client.get(f"/image/{item['imageUUID']}")
    assert [one.status_code for one in found.history] == [307]
    assert str(found.url) == item["imageURL"]
    assert found.content == client.get(item["imageURL"]).content


def test_it_has_a_thumbnail(client: TestClient) -> None:
    (item,) = post(client, new_task(width=1024, height=512, ttl=60)).json()["data"]
    url = f"/image/{item['imageUUID']}/thumbnail.webp"
    for response in (client.get(url), client.get(url)):
        assert response.headers["content-type"] == "image/webp"
        assert 50 <= int(response.headers["cache-control"].split("=")[1]) <= 60
        with Image.open(io.BytesIO(response.content)) as thumbnail:
            assert max(thumbnail.size) <= LONGEST_SIDE
    assert client.head(url).status_code == 200


def test_a_thumbnail_expires_with_its_image(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = post(client, new_task(ttl=60)).json()["data"]
    url = f"/image/{item['imageUUID']}/thumbnail.webp"
    assert client.get(url).status_code == 200
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert error_of(client.get(url))["code"] == "imageNotFound"


def test_only_a_published_image_has_a_thumbnail(client: TestClient, worker: FakeWorker, reference: str) -> None:
    post(client, new_task(model="runware:108@20", referenceImages=[reference]))
    kept = worker.jobs[0].request.references[0].path
    for name in (kept.stem, kept.name, GONE, "x", "%00"):
        response = client.get(f"/image/{name}/thumbnail.webp")
        assert response.status_code == 404
        assert error_of(response)["code"] == "imageNotFound"


def test_a_damaged_image_has_no_thumbnail(client: TestClient, settings: Settings) -> None:
    (item,) = post(client, new_task()).json()["data"]
    (path,) = (settings.data_dir / "media").rglob(f"{item['imageUUID']}.*")
    path.write_bytes(b"damaged")
    response = client.get(f"/image/{item['imageUUID']}/thumbnail.webp")
    assert response.status_code == 404
    assert error_of(response)["message"].startswith("This image has no thumbnail. The data is no image.")


def test_a_full_disk_shows_the_image_itself(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = post(client, new_task()).json()["data"]

    async def find(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Thumbnails, "find", find)
    found = client.get(f"/image/{item['imageUUID']}/thumbnail.webp")
    assert str(found.url) == item["imageURL"]
    assert found.content == client.get(item["imageURL"]).content
