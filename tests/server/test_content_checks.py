"""The content check from a task to its result, with a worker that finds what it is told to."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server import app as app_module
from server.app import create_app
from server.errors import Failure
from server.jobs.workers.messages import RenderJob
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post


def served(settings: Settings, catalog: Catalog, worker: FakeWorker, **changes: Any) -> TestClient:
    app = create_app(settings.model_copy(update=changes), catalog, [worker])
    return TestClient(app, base_url="http://box:8000")


def checks(job: RenderJob) -> str | None:
    return job.safety


@pytest.mark.parametrize(
    ("task", "by_default", "checked"),
    [
        ({}, False, None),
        ({}, True, "flag"),
        ({"safety": {"checkContent": True}}, False, "flag"),
        ({"safety": {"mode": "fast"}}, False, "flag"),
        ({"safety": {"mode": "full"}}, False, "flag"),
        ({"safety": {"checkContent": False}}, True, None),
        ({"safety": {"mode": "none"}}, True, None),
        ({"checkNSFW": True}, False, "flag"),
    ],
)
def test_who_asks_for_it(
    settings: Settings, catalog: Catalog, worker: FakeWorker, task: Any, by_default: bool, checked: str | None
) -> None:
    with served(settings, catalog, worker, safety_default=by_default) as client:
        (item,) = post(client, new_task(**task)).json()["data"]
        assert checks(worker.jobs[0]) == checked
        assert item.get("NSFWContent") == (None if checked is None else False)


@pytest.mark.parametrize("unsafe", [True, False])
def test_each_result_says_what_was_found(
    settings: Settings, catalog: Catalog, worker: FakeWorker, unsafe: bool
) -> None:
    worker.unsafe = unsafe
    task = new_task(safety={"checkContent": True}, numberResults=2)
    with served(settings, catalog, worker) as client:
        assert [item["NSFWContent"] for item in post(client, task).json()["data"]] == [unsafe] * 2
        again = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()["data"]
        assert [item["NSFWContent"] for item in again] == [unsafe] * 2


def test_a_server_may_block(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    worker.fail = Failure("nsfwContentDetected", "The image was not safe for work.", 400, "check_content")
    with served(settings, catalog, worker, safety_action="block") as client:
        response = post(client, new_task(safety={"checkContent": True}))
        assert checks(worker.jobs[0]) == "block"
        error = error_of(response)
        assert (response.status_code, error["code"]) == (400, "nsfwContentDetected")
        assert error["parameter"] == "safety.checkContent"


def test_without_the_extra_it_is_refused_with_the_command(
    settings: Settings, catalog: Catalog, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "is_installed", lambda _: False)
    with served(settings, catalog, worker) as client:
        error = error_of(post(client, new_task(checkNSFW=True)))
        assert (error["code"], error["parameter"]) == ("unsupportedParameter", "checkNSFW")
        assert "pip install" in error["message"]
        assert "[safety]" in error["message"]
        assert "NSFWContent" not in post(client, new_task(safety={"checkContent": False})).json()["data"][0]
