import asyncio
import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.runpod import operations
from server.app import create_app
from server.errors import Failure
from server.jobs.job import Job
from server.jobs.queue import JobQueue
from server.settings import Settings
from server.tasks.waiting import wait_for_end
from tests.fakes import FakeWorker, picture
from tests.server.api.runpod.common import DRAW, EDIT, body_of, end_of, run, run_sync
from tests.server.conftest import Downloads

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
FAILURE = Failure("inferenceError", "The worker failed.", 500)


def test_an_awaited_job_comes_with_its_output(client: TestClient, worker: FakeWorker) -> None:
    response = run_sync(client)
    job = response.json()
    assert response.status_code == 200
    assert re.fullmatch(rf"sync-{UUID}-u1", job["id"])
    assert job.keys() == {"id", "status", "delayTime", "executionTime", "workerId", "output"}
    assert (job["status"], job["output"]["cost"]) == ("COMPLETED", 0)
    assert job["output"]["image_url"] == job["output"]["result"]
    assert client.get(job["output"]["result"]).headers["content-type"] == "image/jpeg"
    request = worker.jobs[0].request
    assert (request.model, request.width, request.height, request.seed) == ("runware:108@1", 128, 256, 5)
    assert client.get(f"{DRAW}/status/{job['id']}").json() == job


def test_a_job_is_acknowledged_and_polled(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    job_id = run(client)
    assert re.fullmatch(rf"{UUID}-u1", job_id)
    worker.held.wait(10)
    for method in ("GET", "POST"):
        found = client.request(method, f"{DRAW}/status/{job_id}").json()
        assert found.keys() == {"id", "status", "delayTime"}
        assert found["status"] == "IN_PROGRESS"
    assert client.get(f"{DRAW}/status/{job_id}", headers={"Authorization": "two"}).status_code == 404
    worker.release()
    assert end_of(client, job_id)["status"] == "COMPLETED"


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch, worker: FakeWorker) -> None:
    """A second of a wait is a hundredth, once the worker has the job. The vendor's shortest wait is a second."""

    async def wait(queue: JobQueue, owner: str, task_id: str, seconds: float, gone: asyncio.Event) -> Job | None:
        assert await asyncio.to_thread(worker.held.wait, 60)
        return await wait_for_end(queue, owner, task_id, seconds / 100, gone)

    monkeypatch.setattr(operations, "wait_for_end", wait)


@pytest.mark.usefixtures("short_waits")
def test_a_wait_that_is_over_says_where_the_job_is(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    job = client.post(f"{DRAW}/runsync?wait=1000", json={"input": {"prompt": "a", "size": "128*128"}}).json()
    assert job["status"] == "IN_PROGRESS"
    assert client.post(f"{DRAW}/status-sync/{job['id']}?wait=1000").json()["status"] == "IN_PROGRESS"
    worker.release()
    assert end_of(client, job["id"])["status"] == "COMPLETED"


def test_an_edit_is_like_its_picture_whatever_size_is_sent(
    client: TestClient, worker: FakeWorker, reference: str
) -> None:
    run_sync(client, EDIT, image=reference, size="1328*1328")
    assert (worker.jobs[0].request.width, worker.jobs[0].request.height) == (1184, 896)
    run_sync(client, "/v2/qwen-image-edit-2511", images=[reference] * 2, size=None)
    assert (worker.jobs[1].request.width, worker.jobs[1].request.height) == (1024, 1024)
    run_sync(client, "/v2/qwen-image-edit-2511-lora", image=reference, loras=[{"path": "outlines", "scale": 0.5}])
    assert [use.weight for use in worker.jobs[2].request.loras] == [0.5]
    run_sync(client, EDIT, images=[reference] * 3)
    assert worker.jobs[3].request.model == "runware:108@22"


def test_wrong_parameters_fail_at_once_or_later(client: TestClient, worker: FakeWorker) -> None:
    response = run_sync(client, EDIT, image="/a.png")
    assert response.status_code == 400
    assert response.json().keys() == {"id", "status", "error"}
    assert response.json()["status"] == "FAILED"
    assert "'image'" in response.json()["error"]
    job_id = run(client, EDIT, image="/a.png")
    job = end_of(client, job_id)
    assert job == {"id": job_id, "status": "FAILED", "error": response.json()["error"]}
    assert client.get(f"{DRAW}/stream/{job_id}").json() == {"status": "FAILED", "stream": []}
    retried = client.post(f"{DRAW}/retry/{job_id}")
    assert retried.status_code == 400
    assert "would fail again" in retried.json()["error"]
    assert worker.jobs == []


def test_a_job_is_acknowledged_before_its_picture_is_downloaded(
    client: TestClient, worker: FakeWorker, downloads: Downloads
) -> None:
    cancelled, job_id = (run(client, EDIT, image="https://example.com/a.png") for _ in range(2))
    assert client.get(f"{EDIT}/status/{job_id}").json() == {"id": job_id, "status": "IN_QUEUE"}
    assert client.get(f"{EDIT}/health").json()["jobs"]["inQueue"] == 2
    assert client.post(f"{EDIT}/cancel/{cancelled}").json()["status"] == "CANCELLED"
    downloads.go.set()
    assert end_of(client, job_id)["status"] == "COMPLETED"
    assert end_of(client, cancelled)["status"] == "CANCELLED"
    assert (len(worker.jobs), downloads.ended) == (1, 1)


def test_a_job_whose_picture_cannot_be_used_fails_and_is_retried(client: TestClient, downloads: Downloads) -> None:
    downloads.go.set()
    downloads.data = b"no picture"
    job_id = run(client, EDIT, image="https://example.com/a.png")
    job = end_of(client, job_id)
    assert job.keys() == {"id", "status", "error"}
    assert (job["status"], "'image'" in job["error"]) == ("FAILED", True)
    downloads.data = picture()
    assert client.post(f"{EDIT}/retry/{job_id}").json() == {"id": job_id, "status": "IN_QUEUE"}
    assert end_of(client, job_id)["status"] == "COMPLETED"


def test_a_job_whose_picture_is_downloaded_is_not_lost_by_a_restart(
    settings: Settings, catalog: Catalog, worker: FakeWorker, downloads: Downloads
) -> None:
    def served() -> TestClient:
        return TestClient(create_app(settings, catalog, [worker]), headers={"Authorization": "one"})

    with served() as client:
        job_id = run(client, EDIT, image="https://example.com/a.png")
    assert worker.jobs == []
    downloads.go.set()
    with served() as client:
        assert end_of(client, job_id)["status"] == "COMPLETED"


def test_a_job_that_fails_while_it_runs_is_retried(client: TestClient, worker: FakeWorker) -> None:
    worker.fail = FAILURE
    job = run_sync(client)
    assert job.status_code == 200
    assert (job.json()["status"], job.json()["error"]) == ("FAILED", FAILURE.message)
    worker.fail = None
    job_id = job.json()["id"]
    assert client.post(f"{DRAW}/retry/{job_id}").json() == {"id": job_id, "status": "IN_QUEUE"}
    assert end_of(client, job_id)["status"] == "COMPLETED"
    assert client.post(f"{DRAW}/retry/{job_id}").status_code == 400
    assert client.get(f"{DRAW}/health").json()["jobs"]["retried"] == 1


def test_the_output_is_streamed_once(client: TestClient) -> None:
    job = run_sync(client).json()
    assert client.get(f"{DRAW}/stream/{job['id']}").json() == {
        "status": "COMPLETED",
        "stream": [{"output": job["output"]}],
    }
    assert client.get(f"{DRAW}/stream/{job['id']}").json() == {"status": "COMPLETED", "stream": []}


@pytest.mark.usefixtures("short_waits")
def test_a_stream_is_held(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    job_id = run(client)
    assert client.post(f"{DRAW}/stream/{job_id}?wait=1000").json() == {"status": "IN_PROGRESS", "stream": []}
    worker.release()
    assert len(client.get(f"{DRAW}/stream/{job_id}").json()["stream"]) == 1


def test_the_memory_of_streams_is_bounded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_STREAMED", 1)
    first, second = (run_sync(client).json()["id"] for _ in range(2))
    for job_id in (first, second, first):
        assert len(client.get(f"{DRAW}/stream/{job_id}").json()["stream"]) == 1


@pytest.mark.parametrize("sent", [{}, {"json": {}}])
def test_a_waiting_job_is_cancelled(client: TestClient, worker: FakeWorker, sent: dict[str, Any]) -> None:
    worker.hold()
    run(client)
    waiting = run(client)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer one"}
    cancelled = client.post(f"{DRAW}/cancel/{waiting}", headers=headers, **sent)
    assert cancelled.json() == {"id": waiting, "status": "CANCELLED"}
    assert client.get(f"{DRAW}/status/{waiting}").json() == {"id": waiting, "status": "CANCELLED"}
    worker.release()


def test_a_running_job_is_cancelled_at_its_next_step(
    client: TestClient, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "CANCEL_SECONDS", 0.01)
    worker.hold()
    job_id = run(client)
    worker.held.wait(10)
    assert client.post(f"{DRAW}/cancel/{job_id}").json() == {"id": job_id, "status": "CANCELLED"}
    worker.release()
    assert end_of(client, job_id)["status"] == "CANCELLED"
    assert client.post(f"{DRAW}/cancel/{job_id}").json() == {"id": job_id, "status": "CANCELLED"}


def test_the_servers_own_route_cancels_a_job(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    job_id = run(client)
    assert client.delete(f"/v1/tasks/{job_id}", headers={"Authorization": "Bearer one"}).json()["status"] == "cancelled"
    assert end_of(client, job_id)["status"] == "CANCELLED"
    worker.release()


def test_the_queue_of_one_endpoint_is_purged(client: TestClient, worker: FakeWorker, reference: str) -> None:
    worker.hold()
    running = run(client)
    worker.held.wait(10)
    waiting, other = run(client), run(client, EDIT, image=reference)
    health = client.get(f"{DRAW}/health").json()
    assert (health["jobs"]["inProgress"], health["jobs"]["inQueue"]) == (1, 1)
    assert (health["workers"]["running"], health["workers"]["idle"]) == (1, 0)
    assert client.post(f"{DRAW}/purge-queue").json() == {"removed": 1, "status": "completed"}
    assert end_of(client, waiting)["status"] == "CANCELLED"
    worker.release()
    assert end_of(client, running)["status"] == end_of(client, other)["status"] == "COMPLETED"
    health = client.get(f"{DRAW}/health").json()
    assert (health["jobs"]["completed"], health["workers"]["idle"]) == (1, 1)


def test_a_policy_sets_limits(client: TestClient, worker: FakeWorker, settings: Settings) -> None:
    def limits() -> tuple[float, float]:
        with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection:
            return connection.execute("SELECT run_seconds, expires FROM task_deadlines").fetchone()

    worker.hold()
    policy = {"executionTimeout": 5000, "ttl": 10_000, "lowPriority": True}
    job_id = client.post(f"{DRAW}/run", json={**body_of(), "policy": policy}).json()["id"]
    run_seconds, expires = limits()
    assert run_seconds == 5
    assert client.get(f"{DRAW}/status/{job_id}?ttl=20000").status_code == 200
    assert limits() == (5, pytest.approx(expires + 10, abs=2))
    worker.release()
