"""The WebSocket at `/v1`: arrays of tasks in, one frame for each answer out.

A connection authenticates first and joins a session. A session delivers the results that were finished while its client
was away. A closed socket cancels no task.
"""

import asyncio
import contextlib
from typing import Any

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.api.auth import bearer_key
from server.api.base_url import base_url
from server.api.body import STRANGER_LIMIT, stranger
from server.api.body_pool import BodyPool
from server.api.client import Client
from server.api.runware.dispatch import RunwareApi, parse_tasks, task_ref
from server.api.runware.responses import Answer, Item, TaskRef, compact_json, error_object, refusal
from server.api.runware.sessions import Session, Sessions
from server.api.services import Services
from server.errors import ApiError, InvalidRequest, Unauthorized

log = structlog.get_logger()

MESSAGE_TOO_BIG, POLICY_VIOLATION = 1009, 1008  # close codes of RFC 6455


class RunwareSocket:
    """Serves the WebSocket connections."""

    def __init__(self, api: RunwareApi, services: Services, sessions: Sessions, pool: BodyPool) -> None:
        self._api = api
        self._pool = pool
        self._keys = services.keys
        self._sessions = sessions
        self._public_url = services.public_url
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection until it closes."""
        await websocket.accept()
        connection = _Connection(websocket, base_url(websocket, self._public_url))
        try:
            self._login_by_header(connection)
            while True:
                await self._receive(connection)
        except WebSocketDisconnect:
            pass
        finally:
            if connection.session is not None:
                self._sessions.leave(connection.session, connection.send_text)

    async def _receive(self, connection: "_Connection") -> None:
        message = await connection.websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        await self._check_key(connection)
        content = message.get("text") or message.get("bytes") or ""
        if connection.session is None and len(content) > STRANGER_LIMIT and (error := stranger(self._keys, None)):
            await connection.send_text(_login_failure(error))
            await connection.websocket.close(MESSAGE_TOO_BIG)
            raise WebSocketDisconnect(MESSAGE_TOO_BIG)
        try:
            tasks = await self._pool.run(len(content), parse_tasks, content)
        except InvalidRequest as error:
            await connection.send(refusal([error], TaskRef()))
            return
        for task in tasks:
            if isinstance(task, dict) and task.get("taskType") == "authentication":
                await self._login(connection, task)
            elif connection.session is None:
                error = Unauthorized("Authenticate first.", code="missingApiKey", parameter="apiKey")
                await connection.send(refusal([error], task_ref(task)))
            else:
                self._start(task, connection.session, connection.base_url, len(content))

    async def _check_key(self, connection: "_Connection") -> None:
        """Close a connection whose key has been revoked, has expired or was replaced since it authenticated."""
        if connection.session is None:
            return
        try:
            self._keys.owner(connection.key)
        except Unauthorized as error:
            await connection.send_text(_login_failure(error))
            await connection.websocket.close(POLICY_VIOLATION)
            raise WebSocketDisconnect(POLICY_VIOLATION) from error

    def _start(self, task: Any, session: Session, base: str, size: int) -> None:
        """Run a task beside the connection, so that pings are answered meanwhile. It outlives the socket."""
        running = asyncio.create_task(self._answer(task, session, base, size))
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)

    async def _answer(self, task: Any, session: Session, base: str, size: int) -> None:
        client = Client(session.owner, base, listens=True)
        async for answer in self._api.handle(task, client, size):
            session.put(frame(answer))

    def _login_by_header(self, connection: "_Connection") -> None:
        if key := bearer_key(connection.websocket.headers):
            with contextlib.suppress(Unauthorized):
                self._join(connection, self._sessions.open(self._keys.owner(key), None))
                connection.key = key

    async def _login(self, connection: "_Connection", task: Item) -> None:
        key, wanted = task.get("apiKey"), task.get("connectionSessionUUID")
        key = key if isinstance(key, str) else None
        try:
            owner = self._keys.owner(key)
        except Unauthorized as error:
            await connection.send_text(_login_failure(error))
            return
        wanted = wanted if isinstance(wanted, str) else None
        session = connection.session
        if session is None or session.owner != owner or self._sessions.holds(owner, wanted):
            session = self._sessions.open(owner, wanted)
        success = {"taskType": "authentication", "connectionSessionUUID": session.uuid}
        await connection.send_text(compact_json({"data": [success]}))
        self._join(connection, session)
        connection.key = key

    def _join(self, connection: "_Connection", session: Session) -> None:
        """Deliver a session's frames over this connection. Its client has the session's UUID by now."""
        if connection.session is session:
            return
        if connection.session is not None:
            self._sessions.leave(connection.session, connection.send_text)
        connection.session = session
        session.connect(connection.send_text)


class _Connection:
    """One socket, and its session once it has authenticated."""

    def __init__(self, websocket: WebSocket, base: str) -> None:
        self.websocket = websocket
        self.base_url = base
        self.session: Session | None = None
        self.key: str | None = None  # the one that it has authenticated with
        self.send_text = self._send_text  # always the same object, because the session compares it

    async def send(self, answer: Answer) -> None:
        """Send an answer that no session keeps."""
        await self.send_text(frame(answer))

    async def _send_text(self, text: str) -> bool:
        """Send a frame. Returns false if the connection has closed; the reader notices that itself."""
        try:
            await self.websocket.send_text(text)
        except (RuntimeError, WebSocketDisconnect):
            return False
        return True


def frame(answer: Answer) -> str:
    """One answer as a frame. Empty members are omitted, and only the first error is sent."""
    body: Item = {}
    if answer.data:
        body["data"] = list(answer.data)
    if answer.errors:
        body["errors"] = [answer.errors[0]]
    return compact_json(body)


def _login_failure(error: ApiError) -> str:
    """The frame of a failed login: `errors` and `error`, without a taskUUID. Each client reads another part."""
    item = error_object(error, TaskRef("authentication"))
    return compact_json({"errors": [item], "error": item})
