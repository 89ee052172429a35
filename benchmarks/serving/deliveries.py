"""Measures how long a finished image waits for its webhook or its upload, with many clients at once.

The end of a render is when the server has the file, as its database says. The other end is the first byte of the
request at a receiver in this process. Both are times of the same clock. Knows no worker.
"""

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import httpx2

PARAMETERS = {"webhook": "webhookURL", "upload": "uploadEndpoint"}
Kind = Literal["webhook", "upload"]
# After the answer to the last task.
PATIENCE_SECONDS = 60.0
_FINISHED = (
    "SELECT media.created FROM jobs JOIN results ON results.job_id = jobs.id JOIN media ON media.uuid = image_uuid "
    "WHERE task_uuid = ?"
)


class Receiver:
    """An HTTP server that answers 200 and notes when the first byte for each path arrives, in seconds since the epoch.

    The last part of a path is the UUID of a task.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.arrivals: dict[str, float] = {}
        self._lines: set[asyncio.StreamWriter] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self._lines.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while first := await reader.read(1):
                now = time.time()
                line, *lines = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                await reader.readexactly(int(headers.get("content-length", 0)))
                self.arrivals.setdefault(line.split()[1].rpartition("/")[2], now)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self._lines.discard(writer)
        writer.close()

    async def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()
        await asyncio.gather(*(line.wait_closed() for line in self._lines), return_exceptions=True)


@contextlib.asynccontextmanager
async def open_receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver = Receiver("")
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    receiver.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()


async def delivery_delays(
    web: httpx2.AsyncClient, database: Path, task: dict[str, Any], kind: Kind, *, clients: int, requests: int
) -> list[float]:
    """Milliseconds from the end of each render to the first byte at the receiver.

    `database` is the server's. It has to allow private URLs.
    """
    left = iter(range(requests))
    async with open_receiver() as receiver:

        async def client() -> list[str]:
            return [await _send(web, task, kind, receiver.url) for _ in left]

        sent = [one for of_client in await asyncio.gather(*(client() for _ in range(clients))) for one in of_client]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(receiver.arrivals) < len(sent):  # noqa: ASYNC110  looked at seldom, so that it measures itself not
                await asyncio.sleep(0.05)
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        finished = {one: connection.execute(_FINISHED, (one,)).fetchone()[0] for one in sent}
    return [1000 * (receiver.arrivals[one] - finished[one]) for one in sent]


async def _send(web: httpx2.AsyncClient, task: dict[str, Any], kind: Kind, url: str) -> str:
    task_uuid = str(uuid.uuid4())
    body = [{**task, "taskUUID": task_uuid, PARAMETERS[kind]: f"{url}/{task_uuid}"}]
    (await web.post("/v1", json=body)).raise_for_status()
    return task_uuid
