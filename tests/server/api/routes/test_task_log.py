from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.errors import Failure
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import new_task, post


def log_of(client: TestClient, query: str = "", **options: object) -> dict[str, object]:
    return client.get(f"/v1/server/tasks{query}", **options).json()  # pyright: ignore[reportArgumentType]


def test_the_latest_task_is_first_and_has_its_error_in_words(client: TestClient, worker: FakeWorker) -> None:
    done, failed = new_task(numberResults=2), new_task(positivePrompt="a blue square")
    post(client, done)
    worker.fail = Failure("inferenceError", "Out of memory.", 500)
    post(client, failed)
    log = log_of(client)
    assert log["total"] == 2
    first, second = log["tasks"]  # pyright: ignore[reportGeneralTypeIssues]
    assert (first["taskUUID"], first["state"], first["prompt"]) == (failed["taskUUID"], "failed", "a blue square")
    assert first["error"] == {"code": "inferenceError", "message": "Out of memory."}
    assert (first["priority"], second["priority"]) == ("normal", "normal")
    assert (second["taskUUID"], second["state"], second["images"], second["error"]) == (
        done["taskUUID"],
        "done",
        2,
        None,
    )
    assert second["created"] <= second["started"] <= second["finished"]
    assert (second["dialect"], second["model"], second["numberResults"]) == ("runware", "runware:108@1", 2)


def test_pages_of_it(client: TestClient) -> None:
    tasks = [new_task() for _ in range(3)]
    for task in tasks:
        post(client, task)
    page = log_of(client, "?limit=1&offset=1")
    assert page["total"] == 3
    assert [task["taskUUID"] for task in page["tasks"]] == [tasks[1]["taskUUID"]]  # pyright: ignore[reportGeneralTypeIssues]


@pytest.mark.parametrize("query", ["?limit=0", "?limit=101", "?offset=-1", "?limit=x"])
def test_numbers_out_of_range_are_refused(shared_client: TestClient, query: str) -> None:
    assert shared_client.get(f"/v1/server/tasks{query}").status_code == 400


@pytest.fixture
def with_keys(settings: Settings, catalog: Catalog) -> Iterator[TestClient]:
    settings = settings.model_copy(update={"api_keys": ("one", "other")})
    with TestClient(create_app(settings, catalog, [FakeWorker()])) as client:
        yield client


def test_a_key_sees_its_own_tasks(with_keys: TestClient) -> None:
    post(with_keys, new_task(), headers={"Authorization": "Bearer one"})
    assert log_of(with_keys, headers={"Authorization": "Bearer one"})["total"] == 1
    assert log_of(with_keys, headers={"Authorization": "Bearer other"})["total"] == 0
    assert with_keys.get("/v1/server/tasks").status_code == 401
