import asyncio
from collections.abc import Callable

import pytest

from server.api.runware.sockets import sessions as module
from server.api.runware.sockets.sessions import Frame, Session, Sessions


class Line:
    """A connection that keeps what it was given, or has closed. Its client receives frames when told to."""

    def __init__(self, *, prompt: bool = True) -> None:
        self.open = True
        self.frames: list[Frame] = []
        self.receipts: list[Callable[[], None]] = []
        self.send = self._send
        self._prompt = prompt

    async def _send(self, frame: Frame, received: Callable[[], None]) -> bool:
        if self.open:
            self.frames.append(frame)
            self.receipts.append(received)
            if self._prompt:
                asyncio.get_running_loop().call_soon(received)
        return self.open


def numbered(*numbers: int) -> list[Frame]:
    return [{"number": number} for number in numbers]


def put(session: Session, *numbers: int) -> None:
    for frame in numbered(*numbers):
        assert session.put(frame)


async def settle() -> None:
    """Let everything that is due run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_frames_arrive_in_order_and_once() -> None:
    session, line, later = Sessions().open("me", None), Line(), Line()
    put(session, 1)
    session.connect(line.send)
    put(session, 2)
    await settle()
    assert line.frames == numbered(1, 2)
    session.connect(later.send)
    await settle()
    assert later.frames == []


async def test_a_frame_that_did_not_go_out_waits_for_the_next_connection() -> None:
    sessions = Sessions()
    session, closed, line = sessions.open("me", None), Line(), Line()
    closed.open = False
    session.connect(closed.send)
    put(session, 1)
    await settle()
    sessions.leave(session, closed.send)
    session.connect(line.send)
    await settle()
    assert line.frames == numbered(1)


async def test_frames_that_a_dead_line_took_are_sent_again() -> None:
    """26 of 60 results were lost when a client came back whose line had died without a word."""
    session, dead, line = Sessions().open("me", None), Line(prompt=False), Line()
    session.connect(dead.send)
    put(session, 1, 2, 3, 4)
    await settle()
    assert len(dead.frames) == 4
    dead.receipts[1]()  # and so of all before
    session.connect(line.send)
    put(session, 5)
    await settle()
    assert line.frames == numbered(3, 4, 5)
    dead.receipts[3]()  # late
    last = Line()
    session.connect(last.send)
    await settle()
    assert last.frames == []


async def test_a_client_that_says_goodbye_has_received_all() -> None:
    session, line, later = Sessions().open("me", None), Line(prompt=False), Line()
    session.connect(line.send)
    put(session, 1)
    await settle()
    session.confirm(later.send)  # another one's
    session.connect(line.send)
    await settle()
    assert line.frames == numbered(1, 1)
    session.confirm(line.send)
    session.connect(later.send)
    await settle()
    assert later.frames == []


async def test_frames_that_nobody_reads_are_bounded() -> None:
    session, line = Sessions().open("me", None), Line(prompt=False)
    session.connect(line.send)
    put(session, *range(module.MAX_WAITING - 1))
    await settle()
    put(session, 0)
    assert not session.put({"number": 0})
    line.receipts[-1]()
    put(session, 0)


async def test_a_session_is_kept_for_a_while_only() -> None:
    sessions = Sessions(kept_seconds=0)
    first, line = sessions.open("me", None), Line()
    first.connect(line.send)
    sessions.leave(first, line.send)
    assert sessions.open("me", first.uuid) is first
    first.connect(line.send)
    sessions.leave(first, line.send)
    await settle()
    assert sessions.open("me", first.uuid) is not first


async def test_leaving_after_another_connection_took_over_changes_nothing() -> None:
    sessions = Sessions(kept_seconds=0)
    session, old, new = sessions.open("me", None), Line(), Line()
    session.connect(old.send)
    session.connect(new.send)
    sessions.leave(session, old.send)
    await settle()
    put(session, 1)
    await settle()
    assert new.frames == numbered(1)
    assert sessions.open("me", session.uuid) is session


async def test_an_event_is_dropped_when_nobody_listens_or_the_listener_is_far_behind() -> None:
    session, line = Sessions().open("me", None), Line(prompt=False)
    session.offer({"number": 0})
    session.connect(line.send)
    for number in range(module.MOST_BEHIND + 5):
        session.offer({"number": number})
    put(session, -1)
    for _ in range(20):
        await settle()
    assert line.frames == numbered(*range(module.MOST_BEHIND), -1)


async def test_the_sessions_that_a_client_leaves_behind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without a key could open connections and leave a session of two minutes with each."""
    monkeypatch.setattr(module, "MAX_LEFT", 2)
    sessions, line = Sessions(), Line()
    left = [sessions.open(owner, None) for owner in ("other", "me", "me", "me")]
    for session in left:
        session.connect(line.send)
        sessions.leave(session, line.send)
    assert [sessions.holds(session.owner, session.uuid) for session in left] == [True, False, True, True]
