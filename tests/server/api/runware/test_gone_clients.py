"""HTTP clients that hang up before their answer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import new_task
from tests.server.jobs.common import until


class Caller:
    """One HTTP request, as the server sees it."""

    def __init__(self, app: FastAPI, *tasks: dict[str, Any]) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": json.dumps(tasks).encode(), "more_body": False})
        self._body = b""
        scope = {"type": "http", "method": "POST", "path": "/v1", "headers": [(b"host", b"box")], "query_string": b""}
        scope |= {"scheme": "http", "server": ("box", 80), "http_version": "1.1", "asgi": {"version": "3.0"}}
        self._running = asyncio.create_task(app(scope, self._messages.get, self._send))

    def hang_up(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> dict[str, Any]:
        await self._running
        return json.loads(self._body)

    async def _send(self, message: Any) -> None:
        self._body += message.get("body", b"")


Start = Callable[..., contextlib.AbstractAsyncContextManager[FastAPI]]


@pytest.fixture
def start(settings: Settings, catalog: Catalog, worker: FakeWorker) -> Start:
    @contextlib.asynccontextmanager
    async def started(**changes: Any) -> AsyncIterator[FastAPI]:
        app = create_app(settings.model_copy(update=changes), catalog, [worker])
        async with app.router.lifespan_context(app):
            yield app

    return started


async def waiting(app: FastAPI, count: int) -> None:
    while await app.state.queue.waiting() != count:  # noqa: ASYNC110  it counts rows on the disk
        await asyncio.sleep(0)


async def test_ten_of_them_do_not_delay_the_next_task(start: Start, worker: FakeWorker) -> None:
    worker.hold()
    async with start() as app:
        running = Caller(app, new_task())
        await until(worker.held.is_set)
        gone = [Caller(app, new_task()) for _ in range(10)]
        await waiting(app, 10)
        for caller in (running, *gone):
            caller.hang_up()
        await waiting(app, 0)
        for caller in gone:
            assert (await caller.answer())["errors"][0]["code"] == "taskCancelled"
        last = Caller(app, new_task())
        await waiting(app, 1)
        worker.release()
        for caller in (running, last):  # what runs is finished
            assert "imageURL" in (await caller.answer())["data"][0]
    assert len(worker.jobs) == 2


async def test_an_async_task_stays_and_so_does_one_that_another_request_has_sent(
    start: Start, worker: FakeWorker
) -> None:
    worker.hold()
    async with start() as app:
        running = Caller(app, new_task())
        await until(worker.held.is_set)
        kept = new_task(deliveryMethod="async")
        assert (await Caller(app, kept).answer())["data"]
        caller = Caller(app, {**kept, "deliveryMethod": "sync"}, new_task())
        await waiting(app, 2)
        caller.hang_up()
        await waiting(app, 1)
        worker.release()
        await running.answer()


async def test_a_setting_draws_what_nobody_waits_for(start: Start, worker: FakeWorker) -> None:
    worker.hold()
    async with start(gone_clients="finish") as app:
        running = Caller(app, new_task())
        await until(worker.held.is_set)
        caller = Caller(app, new_task())
        await waiting(app, 1)
        caller.hang_up()
        worker.release()
        assert "imageURL" in (await caller.answer())["data"][0]
        await running.answer()
