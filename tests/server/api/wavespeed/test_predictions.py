import re
from dataclasses import replace

import pytest

from server.api.wavespeed.predictions import envelope, error_json, given_up, new_id, prediction_json, status_of
from server.errors import Failure, NotFound
from server.jobs.job import CANCELLED, State
from server.tasks.endings.deadlines import TIMED_OUT
from tests.server.api.wavespeed.common import DONE, EDIT


def test_a_finished_prediction() -> None:
    assert prediction_json(DONE, "http://box", ["http://box/image/an-image.webp"]) == {
        "id": "c0ffee",
        "model": EDIT,
        "outputs": ["http://box/image/an-image.webp"],
        "urls": {"get": "http://box/api/v3/predictions/c0ffee/result"},
        "has_nsfw_contents": [False],
        "status": "completed",
        "created_at": "1970-01-01T00:01:40.000Z",
        "error": "",
        "timings": {"inference": 3250},
        "executionTime": 3500,
    }


@pytest.mark.parametrize(
    ("state", "failure", "status", "code"),
    [
        ("queued", None, "created", None),
        ("running", None, "processing", None),
        ("failed", Failure("inferenceError", "Out of memory.", 500), "failed", 1403),
        ("cancelled", CANCELLED, "cancelled", None),
        ("cancelled", TIMED_OUT, "timeout", 5004),
    ],
)
def test_other_states(state: State, failure: Failure | None, status: str, code: int | None) -> None:
    job = replace(DONE, state=state, failure=failure, results=())
    found = prediction_json(job, "http://box")
    assert (found["status"], found.get("code"), found["outputs"]) == (status, code, [])
    assert bool(found["error"]) == (failure is not None)
    assert status_of(job) == status


def test_giving_up_is_no_failure() -> None:
    found = given_up(replace(DONE, state="queued", results=()), "http://box")
    assert (found["status"], found["code"]) == ("processing", 5004)
    assert found["error"].startswith("Sync mode timed out")


def test_ids_never_ask_for_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["0429" + "0" * 28, "1" * 32])
    monkeypatch.setattr("server.api.wavespeed.predictions.uuid.uuid4", lambda: type("Id", (), {"hex": next(drawn)}))
    assert new_id() == "1" * 32
    monkeypatch.undo()
    assert re.fullmatch("[0-9a-f]{32}", new_id())


def test_envelopes() -> None:
    assert envelope({"a": 1}) == {"code": 200, "message": "success", "data": {"a": 1}}
    assert error_json(NotFound("Nothing here.")) == {
        "code": 404,
        "message": "Nothing here.",
        "error_code": "routeNotFound",
    }
