"""Streamed calls, as the vendor's clients read them."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.testclient import TestClient

from server.errors import Failure
from tests.fakes import FakeWorker, picture
from tests.server.api.openai_images.conftest import EDITS, GENERATIONS, colour

BODY = {"prompt": "a red circle", "size": "128x128", "seed": 7, "num_inference_steps": 2, "stream": True}


def streamed(client: TestClient, path: str = GENERATIONS, **changes: Any) -> list[dict[str, Any]]:
    """The data of each event, whose name must be its type."""
    response = client.post(path, json=BODY | changes)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in filter(None, response.text.split("\n\n")):
        if not block.startswith(":"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            events.append(json.loads(fields["data"]))
            assert fields["event"] == events[-1]["type"]
    return events


def test_each_image_is_an_event(client: TestClient) -> None:
    events = streamed(client, n=2)
    assert [event["type"] for event in events] == ["image_generation.completed"] * 2
    assert [colour(event["b64_json"])[0] for event in events] == [7, 8]
    assert all(event["size"] == "128x128" and event["usage"]["total_tokens"] == 0 for event in events)


def test_previews_come_before(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(streamed, client, partial_images=1)
        worker.held.wait()
        while not worker.watched:  # the stream has begun, so previews are made
            pass
        worker.release()
    partial, completed = waiting.result()
    assert (partial["type"], partial["partial_image_index"]) == ("image_generation.partial_image", 0)
    assert (partial["output_format"], base64.b64decode(partial["b64_json"])) == ("jpeg", b"jpeg")
    assert (completed["type"], completed["output_format"]) == ("image_generation.completed", "png")


def test_an_edit_has_its_own_names(client: TestClient) -> None:
    photo = "data:image/png;base64," + base64.b64encode(picture()).decode()
    (event,) = streamed(client, EDITS, image=photo)
    assert event["type"] == "image_edit.completed"


def test_a_failure_is_an_event_that_clients_raise(client: TestClient, worker: FakeWorker) -> None:
    worker.fail = Failure("inferenceError", "The worker failed.", 500)
    (event,) = streamed(client)
    assert (event["type"], event["error"]["message"]) == ("error", "The worker failed.")


def test_what_is_refused_before_is_a_plain_error(client: TestClient) -> None:
    response = client.post(GENERATIONS, json=BODY | {"size": "1x1"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "size")
    response = client.post(GENERATIONS, json=BODY | {"partial_images": 4})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "partial_images")
