"""The WebSocket at `/v1`: arrays of tasks in, one frame for each answer out.

A connection authenticates first and joins a session. A session delivers the results that were finished while its client
was away. A closed socket cancels no task.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog
from starlette.status import (
    WS_1000_NORMAL_CLOSURE,
    WS_1001_GOING_AWAY,
    WS_1008_POLICY_VIOLATION,
    WS_1009_MESSAGE_TOO_BIG,
    WS_1013_TRY_AGAIN_LATER,
)
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.api.access.auth import bearer_key
from server.api.access.client import Client
from server.api.bodies.body import STRANGER_LIMIT, stranger
from server.api.bodies.body_pool import request_size
from server.api.json_output.file_texts import render_json
from server.api.runware.dispatch import MAX_TASKS, RunwareApi, parse_tasks, task_ref
from server.api.runware.responses import Answer, Item, TaskRef, error_object, refusal
from server.api.runware.sockets.sessions import Session, Sessions
from server.api.runware.sockets.socket_events import SocketEvents
from server.api.services import Services
from server.api.urls.base_url import base_url
from server.connections.control import control_of
from server.errors import ApiError, InvalidParameter, InvalidRequest, Unauthorized

log = structlog.get_logger()

# From the handshake to the first accepted key. Clients send it at once.
LOGIN_SECONDS = 30.0
# Tasks of one connection without an answer. A queue is full long before; further messages wait unread.
MAX_UNANSWERED = 2 * MAX_TASKS
_GOODBYES = frozenset({WS_1000_NORMAL_CLOSURE, WS_1001_GOING_AWAY})  # from clients that leave on purpose


class RunwareSocket:
    """Serves the WebSocket connections."""

    def __init__(self, api: RunwareApi, services: Services, sessions: Sessions, events: SocketEvents) -> None:
        self._api = api
        self._events = events
        self._pool = services.body_pool
        self._keys = services.keys
        self._sessions = sessions
        self._public_url = services.public_url
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection until it closes."""
        await websocket.accept()
        connection = _Connection(websocket, base_url(websocket, self._public_url))
        if connection.control is not None and stranger(self._keys, None) is None:
            connection.control.allow_large_messages()
        try:
            self._login_by_header(connection)
            while True:
                await connection.wait_for_answers()
                await self._receive(connection)
                await asyncio.sleep(0)  # messages that wait already would all be taken before anything else runs
        except WebSocketDisconnect as gone:
            if connection.session is not None and gone.code in _GOODBYES:
                connection.session.confirm(connection.send)
        finally:
            if connection.session is not None:
                self._sessions.leave(connection.session, connection.send)

    async def _receive(self, connection: "_Connection") -> None:
        try:
            async with asyncio.timeout_at(None if connection.session else connection.login_end):
                message = await connection.websocket.receive()
        except TimeoutError:
            await connection.websocket.close(WS_1008_POLICY_VIOLATION, f"No key within {LOGIN_SECONDS:g} seconds.")
            raise WebSocketDisconnect(WS_1008_POLICY_VIOLATION) from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        await self._check_key(connection)
        content = message.get("text") or message.get("bytes") or ""
        if connection.session is None and len(content) > STRANGER_LIMIT and (error := stranger(self._keys, None)):
            await connection.send_alone(_login_failure(error))
            await connection.websocket.close(WS_1009_MESSAGE_TOO_BIG)
            raise WebSocketDisconnect(WS_1009_MESSAGE_TOO_BIG)
        try:
            tasks = await self._pool.run(len(content), parse_tasks, content)
        except InvalidRequest as error:
            await connection.send_alone(frame(refusal([error], TaskRef())))
            return
        for task in tasks:
            if isinstance(task, dict) and task.get("taskType") == "authentication":
                await self._login(connection, task)
            elif connection.session is None:
                error = Unauthorized("Authenticate first.", code="missingApiKey", parameter="apiKey")
                await connection.send_alone(frame(refusal([error], task_ref(task))))
            else:
                self._start(task, connection.session, connection, request_size(len(content), len(tasks)))
                await asyncio.sleep(0)

    async def _check_key(self, connection: "_Connection") -> None:
        """Close a connection whose key has been revoked, has expired or was replaced since it authenticated."""
        if connection.session is None:
            return
        try:
            self._keys.owner(connection.key)
        except Unauthorized as error:
            await connection.send_alone(_login_failure(error))
            await connection.websocket.close(WS_1008_POLICY_VIOLATION)
            raise WebSocketDisconnect(WS_1008_POLICY_VIOLATION) from error

    def _start(self, task: Any, session: Session, connection: "_Connection", size: int) -> None:
        """Run a task beside the connection, so that pings are answered meanwhile. It outlives the socket."""
        answered = connection.count_unanswered()
        running = asyncio.create_task(self._answer(task, session, connection, size, answered))
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)

    async def _answer(
        self, task: Any, session: Session, connection: "_Connection", size: int, answered: Callable[[], None]
    ) -> None:
        client = Client(session.owner, connection.base_url, listens=True, size=size)
        if session.wants_events:
            client = replace(client, on_accept=lambda job: self._events.start(job, session, client))
        try:
            async for answer in self._api.handle(task, client):
                answered()
                if not session.put(frame(answer)):
                    connection.refuse()
                    return
        finally:
            answered()

    def _login_by_header(self, connection: "_Connection") -> None:
        if key := bearer_key(connection.websocket.headers):
            with contextlib.suppress(Unauthorized):
                self._join(connection, self._sessions.open(self._keys.owner(key), None), key)

    async def _login(self, connection: "_Connection", task: Item) -> None:
        key, wanted = task.get("apiKey"), task.get("connectionSessionUUID")
        key, events = key if isinstance(key, str) else None, task.get("events", False)
        try:
            owner = self._keys.owner(key)
            if not isinstance(events, bool):
                message = "Invalid value for 'events' parameter. It must be true or false."
                raise InvalidParameter("events", message, details={"type": "boolean"})
        except ApiError as error:
            await connection.send_alone(_login_failure(error))
            return
        wanted = wanted if isinstance(wanted, str) else None
        session = connection.session
        if session is None or session.owner != owner or self._sessions.holds(owner, wanted):
            session = self._sessions.open(owner, wanted)
        session.wants_events = events
        success = {"taskType": "authentication", "connectionSessionUUID": session.uuid}
        await connection.send_alone({"data": [success]})
        self._join(connection, session, key)

    def _join(self, connection: "_Connection", session: Session, key: str | None) -> None:
        """Deliver a session's frames over this connection. Its client has the session's UUID by now."""
        connection.key = key
        if connection.control is not None:
            connection.control.allow_large_messages()
        if connection.session is session:
            return
        if connection.session is not None:
            self._sessions.leave(connection.session, connection.send)
        connection.session = session
        session.connect(connection.send)


class _Connection:
    """One socket, and its session once it has authenticated."""

    def __init__(self, websocket: WebSocket, base: str) -> None:
        self.websocket = websocket
        self.base_url = base
        self.session: Session | None = None
        self.key: str | None = None  # the one that it has authenticated with
        self.login_end = asyncio.get_running_loop().time() + LOGIN_SECONDS
        self.control = control_of(websocket)
        self.send = self._send  # always the same object, because the session compares it
        self._refused = False
        self._unanswered = 0
        self._room = asyncio.Event()

    async def wait_for_answers(self) -> None:
        """Wait while too many tasks have no answer."""
        while self._unanswered >= MAX_UNANSWERED:
            self._room.clear()
            await self._room.wait()

    def count_unanswered(self) -> Callable[[], None]:
        """Count a task as unanswered until the returned function is called. Further calls change nothing."""
        self._unanswered += 1
        left = 1

        def answered() -> None:
            nonlocal left
            self._unanswered -= left
            left = 0
            self._room.set()

        return answered

    def refuse(self) -> None:
        """Close the connection of a client that reads too little. Further calls change nothing."""
        if self._refused:
            return
        self._refused = True
        log.warning("a client reads none of its answers", owner=self.session.owner if self.session else None)
        if self.control is not None:
            self.control.close_now(WS_1013_TRY_AGAIN_LATER, "Too many answers wait to be read.")

    async def send_alone(self, body: Item) -> None:
        """Send a frame that no session keeps. Nobody asks whether it was received."""
        await self._write(body)

    async def _send(self, body: Item, received: Callable[[], None]) -> bool:
        """Send a frame of the session. Returns false if the connection has closed; the reader notices that itself."""
        if not await self._write(body):
            return False
        if self.control is not None:
            self.control.when_received(received)
        else:
            asyncio.get_running_loop().call_soon(received)
        return True

    async def _write(self, body: Item) -> bool:
        text = await render_json(body)
        try:
            await self.websocket.send_text(text)
        except (RuntimeError, WebSocketDisconnect):
            return False
        return True


def frame(answer: Answer) -> Item:
    """One answer as a frame. Empty members are omitted, and only the first error is sent."""
    body: Item = {}
    if answer.data:
        body["data"] = list(answer.data)
    if answer.errors:
        body["errors"] = [answer.errors[0]]
    return body


def _login_failure(error: ApiError) -> Item:
    """The frame of a failed login: `errors` and `error`, without a taskUUID. Each client reads another part."""
    item = error_object(error, TaskRef("authentication"))
    return {"errors": [item], "error": item}
