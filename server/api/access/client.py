"""Who sent a task, and how its answers travel back. Shared by all dialects."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from server.caller import caller_address
from server.jobs.job import Job


class NoteCaller:
    """ASGI middleware that notes the address of each request and WebSocket in `caller_address`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the address, and pass the request on."""
        if scope["type"] in ("http", "websocket"):
            caller_address.set((scope.get("client") or ("",))[0])
        await self._app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Client:
    """The sender of a task.

    `owner` separates the tasks and images of one key from those of another. `base_url` is our address as the sender
    reached it. `listens` is true on a WebSocket: results of async tasks are pushed there, and those of sync tasks are
    sent one by one. Over HTTP there is one answer. `gone` is set when the sender has hung up and will not come back.
    `on_accept` is called with each accepted job of a sender who wants to watch it. `size` is that of the sender's
    request, as `server.api.bodies.body_pool` counts it.
    """

    owner: str
    base_url: str
    listens: bool
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    on_accept: Callable[[Job], None] | None = None
    size: int = 0

    @contextlib.contextmanager
    def watch(self, request: Request) -> Iterator[None]:
        """Notice within this block when the sender of an HTTP request, whose body has been read, hangs up."""
        watching = asyncio.create_task(self._wait_for_hang_up(request))
        try:
            yield
        finally:
            watching.cancel()

    async def _wait_for_hang_up(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.gone.set()
