"""modelUpload: from a URL to a LoRA that tasks can name, also after a restart."""

import re
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from pipelines.request import Sampler
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.lora_bytes import lora_bytes
from tests.server.conftest import error_of, new_lora, new_task, post, results_of

FILES = {
    "/style.safetensors": lora_bytes(),
    "/other.safetensors": lora_bytes(),
    "/page": b"<html>log in first</html>",
    "/flux": lora_bytes("single_transformer_blocks.0.attn.to_q"),
    "/wide": lora_bytes(width=3072),
    "/checkpoint": lora_bytes().replace(b"lora_A", b"norm_A"),
    "/large": lora_bytes(rows=1500),  # 1.5 MB
}
STAGES = ["validated", "downloaded", "stored", "ready"]
Start = Callable[[], AbstractContextManager[TestClient]]


class Web(BaseHTTPRequestHandler):
    """Serves `FILES`; `/slow` sends nothing until `go` is set."""

    go = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.go.wait()
        data = FILES.get(re.sub("/slow|/Qwen.*", "/style.safetensors", self.path))
        self.send_response(200 if data else 404)
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def start(settings: Settings, catalog: Catalog, worker: FakeWorker) -> Start:
    @contextmanager
    def started() -> Iterator[TestClient]:
        limits = {"max_lora_mb": 1, "allow_private_urls": True, "api_keys": ("one", "two")}
        app = create_app(settings.model_copy(update=limits), catalog, [worker])
        with TestClient(app, base_url="http://box:8000", headers={"Authorization": "Bearer one"}) as client:
            yield client

    return started


@pytest.fixture
def client(start: Start) -> Iterator[TestClient]:
    with start() as client:
        yield client


TWO = {"Authorization": "Bearer two"}


def upload(web: str, path: str = "/style.safetensors", **changes: Any) -> dict[str, Any]:
    return new_lora(web + path, **({"name": "Ink Wash", "version": "1.2"} | changes))


def ask(client: TestClient, task: dict[str, Any]) -> dict[str, Any]:
    return post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()


def statuses(items: list[dict[str, Any]]) -> list[str]:
    return [item["status"] for item in items]


def kept(tmp_path: Path) -> list[str]:
    folder = tmp_path / "data" / "loras"
    return [path.suffix for path in folder.iterdir()] if folder.is_dir() else []


def test_all_stages_in_one_answer_and_then_it_can_be_used(
    client: TestClient, web: str, worker: FakeWorker, tmp_path: Path
) -> None:
    task = upload(web, defaultWeight=0.7, uniqueIdentifier="INK")
    response = post(client, task)
    assert response.status_code == 200
    items = response.json()["data"]
    assert statuses(items) == STAGES
    assert {(item["taskType"], item["taskUUID"]) for item in items} == {("modelUpload", task["taskUUID"])}
    assert all(item["message"] for item in items)
    assert items[-1]["air"] == "local:ink-wash@1.2"

    assert post(client, new_task(lora=[{"model": "local:ink-wash@1.2"}, {"model": "ink"}])).status_code == 200
    first, second = worker.jobs[-1].request.loras
    assert first.path == second.path
    assert first.path.read_bytes() == FILES["/style.safetensors"]
    assert first.path.parent == tmp_path / "data" / "loras"
    assert (first.weight, second.weight) == (0.7, 0.7)


def test_it_survives_a_restart(start: Start, web: str, worker: FakeWorker, tmp_path: Path) -> None:
    with start() as client:
        post(client, upload(web, air="me:ink@3", tags=["ink", "wash"], positiveTriggerWords="inkwash"))
    (tmp_path / "data" / "loras" / "half.part").write_bytes(b"a crash left it")
    with start() as client:
        assert post(client, new_task(lora=[{"model": "me:ink@3"}])).status_code == 200
        search = {"taskType": "modelSearch", "taskUUID": str(uuid.uuid4()), "category": "lora"}
        rows = post(client, search).json()["data"][0]["results"]
        (row,) = (row for row in rows if row["air"] == "me:ink@3")
    assert kept(tmp_path) == [".safetensors"]
    assert row.pop("addedUnixTimestamp") == pytest.approx(time.time(), abs=60)
    assert row == {
        "air": "me:ink@3",
        "name": "Ink Wash",
        "version": "1.2",
        "category": "lora",
        "architecture": "qwen_image",
        "tags": ["ink", "wash"],
        "private": True,
        "defaultWeight": 1.0,
        "positiveTriggerWords": "inkwash",
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [("/Qwen-Image-Lightning-8steps-V2.0.safetensors", "fast"), ("/style.safetensors", "Qwen-Image Lightning 8 steps")],
)
def test_a_known_distilled_one_brings_its_schedule(
    start: Start, web: str, worker: FakeWorker, path: str, name: str
) -> None:
    with start() as client:
        assert post(client, upload(web, path, name=name, air="me:fast@1")).status_code == 200
    with start() as client:  # it is kept
        assert post(client, new_task(lora=[{"model": "me:fast@1"}])).status_code == 200
    request = worker.jobs[-1].request
    assert (request.steps, request.true_cfg_scale, request.sampler) == (8, 1.0, Sampler(shift=3.0, terminal=0.0))


@pytest.mark.parametrize(("private", "expected"), [(None, "invalidModel"), (True, "invalidModel"), (False, None)])
def test_a_private_one_is_its_owners_only(
    client: TestClient, web: str, private: bool | None, expected: str | None
) -> None:
    post(client, upload(web, air="me:ink@3", private=private))
    task = new_task(lora=[{"model": "me:ink@3"}])
    answer = post(client, task, headers=TWO).json()
    assert [error["code"] for error in answer.get("errors", [])] == ([expected] if expected else [])
    assert "me:ink@3" not in repr(answer.get("errors", [{}])[0].get("allowedValues"))
    # Its name is taken all the same, or one owner could stand in for another's public LoRA.
    again = post(client, upload(web, air="ME:INK@3"), headers=TWO)
    assert error_of(again)["code"] == "modelAlreadyExists"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing", "answered with status 404"),
        ("/page", "no safetensors file"),
        ("/flux", "made for another model"),
        ("/wide", "fits none of the served models"),
        ("/checkpoint", "unknown spelling"),
        ("/large", "larger than 1 MB"),
    ],
)
def test_what_is_no_lora_is_refused_and_leaves_nothing(
    client: TestClient, web: str, tmp_path: Path, path: str, words: str
) -> None:
    task = upload(web, path)
    response = post(client, task)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["parameter"]) == ("invalidDownloadURL", "downloadURL")
    assert words in error["message"]
    assert kept(tmp_path) == []
    assert error_of(post(client, new_task(lora=[{"model": "local:ink-wash@1.2"}])))["code"] == "invalidModel"
    # The same task may be sent again once the file is right.
    assert post(client, task | {"downloadURL": f"{web}/style.safetensors"}).status_code == 200


def test_addresses_inside_are_not_fetched_from(tmp_path: Path, catalog: Catalog, web: str) -> None:
    app = create_app(Settings(data_dir=tmp_path / "data"), catalog, [FakeWorker()])
    with TestClient(app) as client:
        assert "private address" in error_of(post(client, upload(web)))["message"]


@pytest.mark.parametrize(
    ("changes", "code", "parameter"),
    [
        ({"category": "checkpoint"}, "unsupportedParameter", "category"),
        ({"category": "poster"}, "invalidCategory", "category"),
        ({"architecture": "flux1d"}, "invalidArchitecture", "architecture"),
        ({"format": "ckpt"}, "invalidFormat", "format"),
        ({"name": None}, "missingName", "name"),
        ({"downloadURL": None}, "missingDownloadURL", "downloadURL"),
        ({"downloadURL": "/etc/passwd"}, "invalidDownloadURL", "downloadURL"),
        ({"defaultWeight": 5}, "invalidDefaultWeight", "defaultWeight"),
        ({"air": "no air"}, "invalidAir", "air"),
        ({"air": "runware:108@1"}, "modelAlreadyExists", "air"),
        ({"uniqueIdentifier": "Qwen-Image"}, "modelAlreadyExists", "uniqueIdentifier"),
        ({"defaultSteps": 8}, "unsupportedParameter", "defaultSteps"),
        ({"colour": "red"}, "unknownParameter", "colour"),
    ],
)
def test_mistakes_are_named_before_anything_is_fetched(
    client: TestClient, web: str, tmp_path: Path, changes: dict[str, Any], code: str, parameter: str
) -> None:
    response = post(client, upload(web, **changes))
    assert response.status_code == 400
    assert (error_of(response)["code"], error_of(response)["parameter"]) == (code, parameter)
    assert kept(tmp_path) == []


def test_async_is_acknowledged_and_can_be_asked_for(client: TestClient, web: str) -> None:
    Web.go.clear()
    task = upload(web, "/slow", deliveryMethod="async")
    assert post(client, task).json() == {"data": [{"taskType": "modelUpload", "taskUUID": task["taskUUID"]}]}
    assert statuses(ask(client, task)["data"]) in ([], ["processing"], ["validated"])
    assert error_of(post(client, task))["code"] == "conflictTaskUUID"
    Web.go.set()
    assert statuses(results_of(client, task, wanted="ready")) == STAGES


def test_a_failed_one_says_so_when_asked(client: TestClient, web: str) -> None:
    task = upload(web, "/page")
    error = error_of(post(client, task))
    answer = ask(client, task)
    assert statuses(answer["data"]) == ["validated", "failed"]
    (told,) = answer["errors"]
    assert (told["code"], told["status"]) == (error["code"], "error")


def test_over_a_websocket_each_stage_is_a_frame(client: TestClient, web: str) -> None:
    with client.websocket_connect("/v1") as socket:
        socket.send_json([upload(web)])
        frames = [socket.receive_json() for _ in range(4)]
        assert [frame["data"][0]["status"] for frame in frames] == STAGES
        socket.send_json([upload(web, "/page", name="other")])
        frames = [socket.receive_json() for _ in range(3)]
        assert [frame["data"][0]["status"] for frame in frames[:2]] == ["validated", "failed"]
        assert frames[2].keys() == {"errors"}
        assert frames[2]["errors"][0]["parameter"] == "downloadURL"


def test_two_of_the_same_name_at_once(client: TestClient, web: str, tmp_path: Path) -> None:
    """Both pass the first check; the slower one is refused and its file deleted."""
    response = post(client, upload(web), upload(web, "/other.safetensors"))
    body = response.json()
    assert [item["status"] for item in body["data"]].count("ready") == 1
    assert [error["code"] for error in body["errors"]] == ["modelAlreadyExists"]
    assert kept(tmp_path) == [".safetensors"]


def test_one_that_a_stopping_server_gave_up_starts_again(start: Start, web: str, tmp_path: Path) -> None:
    Web.go.clear()
    task = upload(web, "/slow", deliveryMethod="async")
    with start() as client:
        post(client, task)
    assert kept(tmp_path) == []
    Web.go.set()
    with start() as client:
        assert statuses(results_of(client, task, wanted="ready")) == STAGES
        assert post(client, new_task(lora=[{"model": "local:ink-wash@1.2"}])).status_code == 200
        assert error_of(post(client, task))["code"] == "conflictTaskUUID"


def test_ended_ones_are_found_after_a_restart(start: Start, web: str) -> None:
    good, bad = upload(web), upload(web, "/page", name="other")
    with start() as client:
        before = [ask(client, task) for task in (good, bad) if post(client, task)]
    with start() as client:
        assert [ask(client, task) for task in (good, bad)] == before
        assert "errors" not in ask(client, good)
        assert error_of(post(client, good))["code"] == "conflictTaskUUID"
        # One that failed may be sent again.
        assert post(client, bad | {"downloadURL": f"{web}/style.safetensors"}).status_code == 200
    with start() as client:
        assert ask(client, bad)["data"][-1]["status"] == "ready"


def test_one_whose_end_was_not_kept_is_not_installed_twice(start: Start, web: str, tmp_path: Path) -> None:
    task = upload(web)
    with start() as client:
        post(client, task)
    with sqlite3.connect(tmp_path / "data" / "ownware.sqlite") as connection:
        connection.execute("UPDATE uploads SET ended = 0, items = '[]'")
    connection.close()
    with start() as client:
        assert [item["status"] for item in ask(client, task)["data"]] == ["ready"]
    assert kept(tmp_path) == [".safetensors"]


def test_the_disk_being_full_is_no_mystery(client: TestClient, web: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "loras").write_text("a file where the folder should be")
    response = post(client, upload(web))
    assert response.status_code == 500
    assert "could not be stored" in error_of(response)["message"]
