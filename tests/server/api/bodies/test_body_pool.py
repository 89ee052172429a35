"""Large bodies are parsed and checked beside the event loop, small ones on it."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.bodies.body_pool import LARGE_BODY, TASK_SIZE, THREADS, BodyPool, request_size
from server.api.runware import dispatch
from tests.server.conftest import new_task, post

WORK = ("server.api.runware.http.parse_tasks", "server.api.runware.dispatch.check_task")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that parsed and checked, in this order."""
    found: list[str] = []

    def noted(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(value: Any) -> Any:
            found.append(threading.current_thread().name.partition("_")[0])
            return work(value)

        return run

    for place in (*WORK, "server.api.runware.sockets.websocket.parse_tasks"):
        monkeypatch.setattr(place, noted(getattr(dispatch, place.rsplit(".", 1)[-1])))
    return found


def test_a_large_body_is_parsed_and_checked_on_a_thread_of_its_own(client: TestClient, threads: list[str]) -> None:
    response = post(client, {"taskType": "ping", "text": "a" * LARGE_BODY})
    assert response.status_code == 400
    assert threads == ["body", "body"]


def test_a_small_body_is_not(client: TestClient, threads: list[str]) -> None:
    assert post(client, {"taskType": "ping"}).status_code == 200
    assert len(threads) == 2
    assert "body" not in threads


def test_a_large_frame_too(client: TestClient, threads: list[str]) -> None:
    with client.websocket_connect("/v1") as socket:
        socket.send_text(json.dumps([{"taskType": "authentication"}]))
        socket.receive_text()
        socket.send_text(json.dumps([new_task(image="a" * LARGE_BODY)]))
        assert json.loads(socket.receive_text())["errors"][0]["code"] == "unknownParameter"
    assert threads[1:] == ["body", "body"]


def test_many_tasks_count_as_much_as_a_large_body(client: TestClient, threads: list[str]) -> None:
    """1000 of them in 60 kB held up everybody for seconds."""
    assert request_size(10, 1) == TASK_SIZE
    assert request_size(LARGE_BODY, 3) == LARGE_BODY
    post(client, *[{"taskType": "ping"}] * 16)
    assert "body" not in threads
    threads.clear()
    post(client, *[{"taskType": "ping"}] * 17)
    assert threads[1:] == ["body"] * 17


async def test_work_returns_and_raises() -> None:
    pool = BodyPool()
    for size in (LARGE_BODY, LARGE_BODY + 1):
        assert await pool.run(size, int, "7") == 7
        with pytest.raises(ValueError, match="invalid literal"):
            await pool.run(size, int, "x")
    pool.close()


async def test_the_threads_are_few() -> None:
    meeting = threading.Barrier(THREADS, timeout=30)

    def meet() -> str:
        meeting.wait()
        return threading.current_thread().name

    pool = BodyPool()
    names = await asyncio.gather(*(pool.run(LARGE_BODY + 1, meet) for _ in range(8 * THREADS)))
    pool.close()
    assert len(set(names)) == THREADS
