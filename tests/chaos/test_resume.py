"""A WebSocket whose line dies without a word loses no result: a dead line takes frames for a while."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from server.api.sample_picture import SAMPLE_PICTURE
from tests.chaos.servers import TASK_SECONDS, ChaosServer, chaos_server

pytestmark = pytest.mark.chaos

TASKS = 60


class DyingLine:
    """A line to a server that passes everything on, until it is `dead`: then nothing comes back any more."""

    def __init__(self, server: ChaosServer) -> None:
        self._host, self._port = server.url.removeprefix("http://").split(":")
        self.dead = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, in both directions."""
        back, forth = await asyncio.open_connection(self._host, self._port)

        async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, *, back: bool) -> None:
            while data := await source.read(65_536):
                if not (back and self.dead):
                    target.write(data)

        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(pass_on(reader, forth, back=False), pass_on(back, writer, back=True))
        writer.close()
        forth.close()


@contextlib.asynccontextmanager
async def dying_line(server: ChaosServer) -> AsyncIterator[DyingLine]:
    """A line on a port of its own."""
    line = DyingLine(server)
    listener = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield line
    finally:
        listener.close()


async def log_in(socket: websockets.ClientConnection, session: str | None = None) -> str:
    """Authenticate, and return the UUID of the session."""
    task = {"taskType": "authentication", "apiKey": "any"} | ({"connectionSessionUUID": session} if session else {})
    await socket.send(json.dumps([task]))
    return json.loads(await socket.recv())["data"][0]["connectionSessionUUID"]


def upload() -> dict[str, Any]:
    return {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": SAMPLE_PICTURE}


async def test_a_line_that_dies_without_a_word_loses_no_result(tmp_path: Path) -> None:
    """26 of 60 results were lost: the dead line had taken them."""
    tasks = [upload() for _ in range(TASKS)]
    with chaos_server(tmp_path) as server:
        async with asyncio.timeout(2 * TASK_SECONDS), dying_line(server) as line:
            first = await websockets.connect(line.url, ping_interval=None)
            session = await log_in(first)
            line.dead = True
            for task in tasks:
                await first.send(json.dumps([task]))
            for task in tasks:  # all are answered, and the dead line has the answers
                await asyncio.to_thread(server.finish, task["taskUUID"])
            direct = f"{server.url.replace('http', 'ws')}/v1"
            async with websockets.connect(direct) as second:
                assert await log_in(second, session) == session
                told = set[str]()
                while len(told) < TASKS:
                    told |= {item["taskUUID"] for item in json.loads(await second.recv())["data"]}
            first.transport.abort()
        assert told == {task["taskUUID"] for task in tasks}
        assert server.terminate() == 0
