"""ASGI middleware that bounds the bodies of requests in memory and in time. Knows no dialect: it raises `ApiError`s."""

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.caller import caller_address
from server.connections.body_budget import BodyBudget
from server.errors import RequestTimeout

IDLE_SECONDS = 20.0  # between two pieces of a body
# A body may take a minute, and more if it comes at this rate: a megabit line has 125,000 bytes a second.
BODY_SECONDS = 60.0
BYTES_A_SECOND = 10_000

_RELEASE = "ownware.release_body"  # in the scope


class GuardBodies:
    """Lets a body be received while there is room in the budget and while it comes in time."""

    def __init__(self, app: ASGIApp, budget: BodyBudget) -> None:
        self._app = app
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. Its bytes are held until `release_body`, or until it has been answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hold = self._budget.hold(caller_address.get())
        receiving = _TimedBody(receive, hold.add)
        scope[_RELEASE] = lambda: hold.set(0)
        try:
            await self._app(scope, receiving.receive, send)
        except ClientDisconnect:  # there is no client left to answer
            pass
        finally:
            hold.set(0)


class _TimedBody:
    """A `receive` that counts the bytes, and raises `RequestTimeout` when they come too slowly."""

    def __init__(self, receive: Receive, count: Callable[[int], None]) -> None:
        self._receive = receive
        self._count = count
        self._size = 0
        self._more = True
        self._begun = asyncio.get_running_loop().time()

    async def receive(self) -> Message:
        if not self._more:  # waits for the client to hang up
            return await self._receive()
        now = asyncio.get_running_loop().time()
        end = self._begun + BODY_SECONDS + self._size / BYTES_A_SECOND
        try:
            async with asyncio.timeout_at(min(now + IDLE_SECONDS, end)):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestTimeout("The request's body did not come in time.") from error
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._size += size
            self._more = message.get("more_body", False)
            self._count(size)
        return message


def release_body(connection: HTTPConnection) -> None:
    """Give back the bytes of a request's body, which has been parsed and is no longer held."""
    if release := connection.scope.get(_RELEASE):
        release()
