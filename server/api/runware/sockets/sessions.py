"""WebSocket sessions: undelivered frames, kept for a while when the connection drops.

Knows frames and a function that sends one; knows no socket.
"""

import asyncio
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any

# How many frames a connection may be behind by. Further events are dropped then, and answers never are.
MOST_BEHIND = 64

# How long undelivered frames wait for their client (Runware's documentation: 120 s after a drop).
KEPT_SECONDS = 120.0
# Sessions of one owner that wait for their client. Each connection leaves one behind.
MAX_LEFT = 1000
# Frames of one session that wait for their client. A frame names its pictures, and so takes about a kilobyte.
MAX_WAITING = 1000

Frame = dict[str, Any]
# Sends a frame, and returns whether it could. Calls the function once the client has received the frame.
Send = Callable[[Frame, Callable[[], None]], Awaitable[bool]]


class Session:
    """An ordered outbox that survives its connection. The newest connection delivers it.

    A frame that was sent waits until its client has received it: a dead line takes frames for a while.
    """

    def __init__(self, owner: str) -> None:
        self.uuid = str(uuid.uuid4())
        self.owner = owner
        self.wants_events = False
        self._frames: deque[Frame] = deque()
        self._sent: deque[Frame] = deque()  # the client has not confirmed them yet
        self._waiting = asyncio.Event()
        self._send: Send | None = None
        self._writer: asyncio.Task[None] | None = None

    def put(self, frame: Frame) -> bool:
        """Add a frame. It waits if there is no connection. Returns false, and adds nothing, if too many wait."""
        if len(self._frames) + len(self._sent) >= MAX_WAITING:
            return False
        self._frames.append(frame)
        self._waiting.set()
        return True

    def offer(self, frame: Frame) -> None:
        """Add a frame that may be lost: it is dropped if there is no connection, or if that is far behind."""
        if self._send is not None and len(self._frames) + len(self._sent) < MOST_BEHIND:
            self.put(frame)

    def connect(self, send: Send) -> None:
        """Deliver over this connection from now on, first what the one before did not get across."""
        if self._writer is not None:
            self._writer.cancel()
        self._frames.extendleft(reversed(self._sent))
        self._sent.clear()
        self._send = send
        self._writer = asyncio.create_task(self._deliver(send))

    def disconnect(self, send: Send) -> bool:
        """Stop delivering over this connection. Returns false if a newer one delivers already."""
        if self._send is not send or self._writer is None:
            return False
        self._writer.cancel()
        self._send = self._writer = None
        return True

    def confirm(self, send: Send) -> None:
        """Forget what was sent over a connection whose client has said goodbye."""
        if self._send is send:
            self._sent.clear()

    async def _deliver(self, send: Send) -> None:
        while True:
            while not self._frames:
                self._waiting.clear()
                await self._waiting.wait()
            frame = self._frames[0]
            if not await send(frame, lambda frame=frame: self._received(send, frame)):
                return  # the frame stays first for the next connection
            self._frames.popleft()
            self._sent.append(frame)

    def _received(self, send: Send, frame: Frame) -> None:
        """Forget a frame and those before it. A line that was replaced has its frames sent again already."""
        if self._send is not send:
            return
        if any(sent is frame for sent in self._sent):
            while self._sent.popleft() is not frame:
                pass


class Sessions:
    """All sessions that can be resumed."""

    def __init__(self, kept_seconds: float = KEPT_SECONDS) -> None:
        self._kept_seconds = kept_seconds
        self._sessions: dict[str, Session] = {}
        # Of each owner, in the order of leaving.
        self._expiries = defaultdict[str, dict[str, asyncio.TimerHandle]](dict)

    def holds(self, owner: str, session_uuid: str | None) -> bool:
        """Whether the owner has a session of that UUID."""
        session = self._sessions.get(session_uuid or "")
        return session is not None and session.owner == owner

    def open(self, owner: str, wanted: str | None) -> Session:
        """Resume the owner's session of that UUID, or start a new one. An unknown UUID is no error."""
        session = self._sessions[wanted] if wanted is not None and self.holds(owner, wanted) else None
        if session is None:
            session = Session(owner)
            self._sessions[session.uuid] = session
        if expiry := self._expiries[owner].pop(session.uuid, None):
            expiry.cancel()
        return session

    def leave(self, session: Session, send: Send) -> None:
        """Disconnect a connection. Its session is forgotten unless it is resumed in time.

        The one that was left first is forgotten when there are more than `MAX_LEFT`.
        """
        if session.disconnect(send):
            left = self._expiries[session.owner]
            if len(left) >= MAX_LEFT:
                self._forget(self._sessions[next(iter(left))])
            left[session.uuid] = asyncio.get_running_loop().call_later(self._kept_seconds, self._forget, session)

    def _forget(self, session: Session) -> None:
        self._expiries[session.owner].pop(session.uuid).cancel()
        del self._sessions[session.uuid]
