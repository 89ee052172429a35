import asyncio

from server.api.runware.sessions import Sessions


class Line:
    """A connection that keeps what it was given, or has closed."""

    def __init__(self) -> None:
        self.open = True
        self.frames: list[str] = []

    async def send(self, frame: str) -> bool:
        if self.open:
            self.frames.append(frame)
        return self.open


async def settle() -> None:
    """Let everything that is due run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_frames_arrive_in_order_and_once() -> None:
    session, line = Sessions().open("me", None), Line()
    session.put("1")
    session.connect(line.send)
    session.put("2")
    await settle()
    assert line.frames == ["1", "2"]


async def test_a_frame_that_did_not_go_out_waits_for_the_next_connection() -> None:
    sessions = Sessions()
    session, closed, line = sessions.open("me", None), Line(), Line()
    closed.open = False
    send_closed, send = closed.send, line.send
    session.connect(send_closed)
    session.put("1")
    await settle()
    sessions.leave(session, send_closed)
    session.connect(send)
    await settle()
    assert line.frames == ["1"]


async def test_a_session_is_kept_for_a_while_only() -> None:
    sessions = Sessions(kept_seconds=0)
    first, line = sessions.open("me", None), Line()
    send = line.send
    first.connect(send)
    sessions.leave(first, send)
    assert sessions.open("me", first.uuid) is first
    first.connect(send)
    sessions.leave(first, send)
    await settle()
    assert sessions.open("me", first.uuid) is not first


async def test_leaving_after_another_connection_took_over_changes_nothing() -> None:
    sessions = Sessions(kept_seconds=0)
    session, old, new = sessions.open("me", None), Line(), Line()
    send_old, send_new = old.send, new.send
    session.connect(send_old)
    session.connect(send_new)
    sessions.leave(session, send_old)
    await settle()
    session.put("1")
    await settle()
    assert new.frames == ["1"]
    assert sessions.open("me", session.uuid) is session
