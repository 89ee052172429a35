import base64
import io
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from server.api.wavespeed import operations
from server.errors import Failure
from tests.bombs import BOMB_URI
from tests.fakes import FakeWorker
from tests.server.api.wavespeed.common import DRAW, EDIT, ROOT, TWO, data_of, end_of, submit
from tests.server.conftest import Downloads


def test_a_prediction_is_created_and_polled(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    created = data_of(submit(client))
    assert (created["status"], created["outputs"], created["model"]) == ("created", [], DRAW)
    assert created["urls"]["get"] == f"http://box:8000{ROOT}/predictions/{created['id']}/result"
    worker.held.wait(10)
    assert data_of(client.get(created["urls"]["get"]))["status"] == "processing"
    worker.release()
    done = end_of(client, created)
    assert (done["status"], done["has_nsfw_contents"], done["error"]) == ("completed", [False], "")
    assert client.get(done["outputs"][0]).headers["content-type"] == "image/jpeg"
    for path in (f"{ROOT}/predictions/{done['id']}", f"/api/v2/predictions/{done['id']}/result"):
        assert data_of(client.get(path)) == done
    assert client.get(f"{ROOT}/predictions/{done['id']}", headers=TWO).status_code == 404
    request = worker.jobs[0].request
    assert (request.model, request.width, request.height, request.seed) == ("runware:108@1", 128, 256, 5)


def test_an_edit_is_like_its_picture(client: TestClient, worker: FakeWorker, reference: str) -> None:
    done = end_of(client, data_of(submit(client, EDIT, image=reference, size=None, output_format="png")))
    assert (worker.jobs[0].request.width, worker.jobs[0].request.height) == (1184, 896)
    assert client.get(done["outputs"][0]).headers["content-type"] == "image/png"
    again = end_of(client, data_of(submit(client, EDIT, image=done["outputs"], size=None)))
    assert again["status"] == "completed"


def test_the_line_is_held_in_sync_mode(client: TestClient) -> None:
    done = data_of(submit(client, enable_sync_mode=True))
    assert (done["status"], len(done["outputs"])) == ("completed", 1)


def test_the_line_is_given_up(client: TestClient, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "SYNC_SECONDS", 0.01)
    worker.hold()
    kept_waiting = data_of(submit(client, enable_sync_mode=True))
    assert (kept_waiting["status"], kept_waiting["code"]) == ("processing", 5004)
    assert "Sync mode timed out" in kept_waiting["error"]
    worker.release()
    assert end_of(client, kept_waiting)["status"] == "completed"


def test_a_prediction_is_created_before_its_picture_is_downloaded(client: TestClient, downloads: Downloads) -> None:
    created = data_of(submit(client, EDIT, image="https://example.com/a.png", size=None))
    assert (created["status"], downloads.ended) == ("created", 0)
    downloads.go.set()
    assert end_of(client, created)["status"] == "completed"
    downloads.data = b"no picture"
    asked = {"image": "https://example.com/a.png", "enable_sync_mode": True}
    failed = data_of(submit(client, EDIT, **asked))
    assert (failed["status"], failed["code"]) == ("failed", 1402)


def test_the_servers_own_route_cancels_a_prediction(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    created = data_of(submit(client))
    assert client.delete(f"/v1/tasks/{created['id']}", headers=TWO).status_code == 404
    assert client.delete(f"/v1/tasks/{created['id']}").json()["status"] == "cancelled"
    cancelled = end_of(client, created)
    assert (cancelled["status"], cancelled["outputs"], "code" in cancelled) == ("cancelled", [], False)
    worker.release()


def test_outputs_as_base64(client: TestClient) -> None:
    done = data_of(submit(client, enable_sync_mode=True, enable_base64_output=True, output_format="webp"))
    head, _, text = done["outputs"][0].partition(",")
    assert head == "data:image/webp;base64"
    assert Image.open(io.BytesIO(base64.b64decode(text))).size == (128, 256)
    (item,) = data_of(client.post(f"{ROOT}/predictions", json={}))["items"]
    assert item["outputs"] == []


@pytest.mark.parametrize("sync", [False, True])
def test_a_failure_has_a_code_and_a_text_that_asks_for_nothing(
    client: TestClient, worker: FakeWorker, *, sync: bool
) -> None:
    worker.fail = Failure("modelNotReady", "The hub answered HTTP 503: connection timeout.", 503)
    failed = end_of(client, data_of(submit(client, enable_sync_mode=sync)))
    assert (failed["status"], failed["code"], failed["outputs"]) == ("failed", 5003, [])
    assert failed["error"] == "The hub answered status 503: link time limit."


@pytest.mark.parametrize("image", ["https://localhost/a.png", "/a.png", "data:image/png;base64,AAAA", BOMB_URI])
def test_an_unusable_picture_is_a_failed_prediction(
    shared_client: TestClient, shared_worker: FakeWorker, image: str
) -> None:
    for sync in (False, True):
        failed = end_of(shared_client, data_of(submit(shared_client, EDIT, image=image, enable_sync_mode=sync)))
        assert (failed["status"], failed["code"]) == ("failed", 1402)
        assert "'image'" in failed["error"]
    assert shared_worker.jobs == []


def history(client: TestClient, **query: Any) -> tuple[list[str], int]:
    found = data_of(client.post(f"{ROOT}/predictions", json=query))
    return [item["id"] for item in found["items"]], found["total"]


def test_the_history(client: TestClient, reference: str) -> None:
    ids = [data_of(submit(client, enable_sync_mode=True))["id"] for _ in range(3)]
    failed = data_of(submit(client, EDIT, image="/a.png"))["id"]
    assert history(client) == ([failed, *ids[::-1]], 4)
    assert history(client, page=2, page_size=3) == ([ids[0]], 4)
    assert history(client, status="failed") == ([failed], 1)
    assert history(client, status="pending") == ([], 0)
    assert history(client, model=EDIT) == ([failed], 1)
    assert history(client, created_before="2020-01-01T00:00:00Z") == ([], 0)
    assert history(client, created_after="2020-01-01T00:00:00Z")[1] == 4
    (item,) = data_of(client.post(f"{ROOT}/predictions", json={"model": EDIT, "include_inputs": True}))["items"]
    assert item["inputs"] == {"prompt": "a red circle", "size": "128*256", "seed": 5, "image": "/a.png"}
    assert client.post(f"{ROOT}/predictions", json={"status": "odd"}).status_code == 400
    assert data_of(client.post(f"{ROOT}/predictions", json={}, headers=TWO))["items"] == []


def test_predictions_are_deleted_with_their_images(client: TestClient, worker: FakeWorker) -> None:
    done = data_of(submit(client, enable_sync_mode=True))
    worker.hold()
    running = data_of(submit(client))
    worker.held.wait(10)
    body = {"ids": [done["id"], running["id"], "nothing"]}
    assert data_of(client.post(f"{ROOT}/predictions/delete", json=body, headers=TWO))["deleted"] == 0
    assert data_of(client.post(f"{ROOT}/predictions/delete", json=body))["deleted"] == 2
    worker.release()
    assert client.get(done["outputs"][0]).status_code == 404
    for prediction in (done, running):
        assert client.get(f"{ROOT}/predictions/{prediction['id']}/result").status_code == 404
