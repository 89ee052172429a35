"""Which thread checks the tasks of a request against their schemas."""

import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.bodies.body_pool import LARGE_BODY
from server.api.runware.check import validation
from tests.server.conftest import new_task, post

PLACES = ("dialect", "handlers.validator", "handlers.preprocessing", "handlers.model_upload")
TASKS: list[dict[str, Any]] = [
    new_task(),
    *({"taskType": name} for name in ("ping", "imageUpload", "mediaStorage", "getResponse", "getTaskDetails")),
    *({"taskType": name} for name in ("cancelTask", "modelSearch", "accountManagement", "modelUpload")),
    {"taskType": "controlNetPreprocess"},
]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that checked tasks."""
    found: list[str] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        found.append(threading.current_thread().name.partition("_")[0])
        return validation.validate(*arguments, **options)

    for place in PLACES:
        monkeypatch.setattr(f"server.api.runware.{place}.validate", noted)
    return found


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["taskType"])
@pytest.mark.parametrize("large", [False, True])
def test_a_task_of_a_large_request_is_checked_beside_the_event_loop(
    shared_client: TestClient, threads: list[str], task: dict[str, Any], large: bool
) -> None:
    """A thousand tasks with mistakes took their time on the event loop, one after the other."""
    post(shared_client, task, *([{"taskType": "none", "padding": "a" * LARGE_BODY}] if large else []))
    assert len(threads) == 1
    assert (threads == ["body"]) is large
