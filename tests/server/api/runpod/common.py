"""A job of this dialect at its end, as the store returns it, and how the tests send jobs."""

from dataclasses import replace
from typing import Any

from starlette.testclient import TestClient

from server.jobs.job import Job, Result
from tests.server.jobs.common import submission

SUBMISSION = replace(submission(1), dialect="runpod", task_uuid="sync-1-u1", task={"endpoint": "qwen-image-edit"})
DONE = Job(1, SUBMISSION, "done", 100.0, 100.014, 103.889, None, (Result(0, "an-image", 7, 3.8, "{}"),))
EDIT = "/v2/qwen-image-edit"
DRAW = "/v2/qwen-image-t2i"


def body_of(**changes: Any) -> dict[str, Any]:
    """A job that draws; a change to None removes a parameter of its input."""
    asked = {"prompt": "a red circle", "size": "128*256", "seed": 5}
    return {"input": {name: value for name, value in (asked | changes).items() if value is not None}}


def run(client: TestClient, path: str = DRAW, **changes: Any) -> str:
    """Send a job, and return its id."""
    response = client.post(f"{path}/run", json=body_of(**changes))
    assert (response.status_code, response.json()["status"]) == (200, "IN_QUEUE")
    return response.json()["id"]


def run_sync(client: TestClient, path: str = DRAW, **changes: Any) -> Any:
    """The answer to a job that is awaited."""
    return client.post(f"{path}/runsync", json=body_of(**changes))


def end_of(client: TestClient, job_id: str, path: str = DRAW) -> dict[str, Any]:
    """A job once it has ended."""
    return client.get(f"{path}/status-sync/{job_id}").json()
