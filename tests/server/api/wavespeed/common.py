"""How the tests submit predictions, and a prediction at its end as the store returns it."""

from dataclasses import replace
from typing import Any

from starlette.testclient import TestClient

from server.jobs.job import Job, Result
from tests.server.jobs.common import submission

ROOT = "/api/v3"
DRAW = "wavespeed-ai/qwen-image/text-to-image"
EDIT = "wavespeed-ai/qwen-image/edit"
TWO = {"Authorization": "Bearer two"}

SUBMISSION = replace(submission(1), dialect="wavespeed", task_uuid="c0ffee", task={"model": EDIT, "prompt": "a"})
DONE = Job(1, SUBMISSION, "done", 100.0, 100.5, 104.0, None, (Result(0, "an-image", 7, 3.25, "{}"),))


def submit(client: TestClient, model: str = DRAW, query: str = "", **changes: Any) -> Any:
    """The answer to a prediction; a change to None removes a parameter."""
    body = {"prompt": "a red circle", "size": "128*256", "seed": 5} | changes
    sent = {name: value for name, value in body.items() if value is not None}
    return client.post(f"{ROOT}/{model}{query}", json=sent)


def data_of(response: Any) -> dict[str, Any]:
    """What is in the envelope of a successful answer."""
    body = response.json()
    assert (response.status_code, body["code"], body["message"]) == (200, 200, "success"), body
    assert None not in body["data"].values()
    return body["data"]


def end_of(client: TestClient, prediction: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A prediction once it has ended. It is polled, as the clients do."""
    for _ in range(10_000):
        found = data_of(client.get(f"{ROOT}/predictions/{prediction['id']}/result", headers=headers))
        if found["status"] not in ("created", "processing"):
            return found
    raise AssertionError("the prediction never ended")
