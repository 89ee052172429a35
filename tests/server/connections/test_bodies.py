import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from server.api.bodies.body import read_body
from server.connections import bodies
from server.connections.bodies import GuardBodies, release_body
from server.connections.body_budget import BodyBudget
from server.errors import ApiError, RequestTimeout, ServiceUnavailable

LIMIT = 10**6


def piece(size: int, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": bytes(size), "more_body": more}


class App:
    """Reads a body, keeps what became of it, and waits until it may end."""

    def __init__(self) -> None:
        self.found: bytearray | ApiError | None = None
        self.go = asyncio.Event()
        self.release = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            self.found = await read_body(request, LIMIT)
        except ApiError as error:
            self.found = error
        if self.release:
            release_body(request)
        await self.go.wait()


async def run(app: Any, budget: BodyBudget, *pieces: Message) -> asyncio.Task[None]:
    """Send pieces of a body, and nothing after them."""
    left = asyncio.Queue[Message]()
    for each in pieces:
        left.put_nowait(each)
    guarded = GuardBodies(app, budget)
    task = asyncio.create_task(guarded({"type": "http", "headers": []}, left.get, asyncio.Queue().put))
    for _ in range(10):
        await asyncio.sleep(0)
    return task


async def test_a_body_is_held_until_its_answer() -> None:
    app, budget = App(), BodyBudget(100)
    task = await run(app, budget, piece(30), piece(10, more=False))
    assert (app.found, budget.held) == (bytes(40), 40)
    app.go.set()
    await task
    assert budget.held == 0


async def test_a_body_that_was_parsed_is_no_longer_held() -> None:
    app, budget = App(), BodyBudget(100)
    app.release = True
    task = await run(app, budget, piece(40, more=False))
    assert budget.held == 0
    app.go.set()
    await task


async def test_a_body_without_room_is_refused() -> None:
    first, second, budget = App(), App(), BodyBudget(100)
    tasks = [await run(first, budget, piece(30)), await run(second, budget, piece(20), piece(1))]
    assert first.found is None
    assert isinstance(second.found, ServiceUnavailable)
    for task, app in zip(tasks, (first, second), strict=True):
        app.go.set()
        task.cancel()
    await asyncio.wait(tasks)
    assert budget.held == 0


@pytest.mark.parametrize(("idle", "whole"), [(0.0, 60.0), (60.0, 0.0)])
async def test_a_body_that_does_not_come_is_given_up(
    monkeypatch: pytest.MonkeyPatch, idle: float, whole: float
) -> None:
    monkeypatch.setattr(bodies, "IDLE_SECONDS", idle)
    monkeypatch.setattr(bodies, "BODY_SECONDS", whole)
    app = App()
    app.go.set()
    await (await run(app, BodyBudget(100), piece(10)))
    assert isinstance(app.found, RequestTimeout)


async def test_a_client_that_hangs_up_amid_its_body_is_no_error() -> None:
    """Each one left a stack trace in the log."""
    app, budget = App(), BodyBudget(100)
    await (await run(app, budget, piece(10), {"type": "http.disconnect"}))
    assert (app.found, budget.held) == (None, 0)


async def test_other_connections_pass() -> None:
    seen = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    arguments = ({"type": "websocket"}, asyncio.Queue().get, asyncio.Queue().put)
    await GuardBodies(app, BodyBudget(1))(*arguments)
    assert seen == [arguments]
    release_body(Request({"type": "http"}))
