from dataclasses import replace

import pytest

from server.api.runpod.jobs import error_json, job_json, output_json
from server.errors import Failure, NotFound
from server.jobs.job import CANCELLED, Job, State
from server.tasks.endings.deadlines import TIMED_OUT
from tests.server.api.runpod.common import DONE

FAILURE = Failure("inferenceError", "Out of memory.", 500)


def test_a_finished_job() -> None:
    url = "http://box/image/an-image.webp"
    assert job_json(DONE, "http://box") == {
        "id": "sync-1-u1",
        "status": "COMPLETED",
        "delayTime": 14,
        "executionTime": 3875,
        "workerId": "local",
        "output": {"image_url": url, "result": url, "cost": 0},
    }


@pytest.mark.parametrize(
    ("state", "failure", "status", "keys"),
    [
        ("queued", None, "IN_QUEUE", set()),
        ("running", None, "IN_PROGRESS", {"delayTime"}),
        ("failed", FAILURE, "FAILED", {"delayTime", "executionTime", "workerId", "error"}),
        ("cancelled", CANCELLED, "CANCELLED", {"delayTime", "executionTime", "workerId"}),
        ("cancelled", TIMED_OUT, "TIMED_OUT", {"delayTime", "executionTime", "workerId", "error"}),
    ],
)
def test_other_states_leave_out_what_does_not_apply(
    state: State, failure: Failure | None, status: str, keys: set[str]
) -> None:
    started, finished = {"queued": (None, None), "running": (100.5, None)}.get(state, (100.5, 101.0))
    job: Job = replace(DONE, state=state, failure=failure, started=started, finished=finished, results=())
    found = job_json(job, "http://box")
    assert found["status"] == status
    assert found.keys() == {"id", "status", *keys}
    assert output_json(job, "http://box") == {}


def test_an_error() -> None:
    assert error_json(NotFound("job not found")) == {"error": "job not found"}
