"""Answers that repeat, or that nobody reads, take little memory."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Iterator

import httpx2
import pytest
import websockets

from tests.chaos.servers import KEY, TASK_SECONDS, ChaosServer, chaos_server

pytestmark = pytest.mark.chaos

MB = 10**6
SEND_SECONDS = 60  # the server need not take all that is sent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosServer]:
    with chaos_server(tmp_path_factory.mktemp("answers")) as server:
        yield server


def rendered(server: ChaosServer) -> str:
    """Draw a picture that is answered in base64, and return the UUID of its task."""
    task_uuid = str(uuid.uuid4())
    item = server.send(taskUUID=task_uuid, outputType="base64Data", outputFormat="PNG", width=1024, height=1024)
    assert "imageBase64Data" in item
    return task_uuid


def test_repeats_of_a_question_are_answered_once(server: ChaosServer) -> None:
    """9 kB made an answer of 330 MB and took 1.4 GB."""
    question = {"taskType": "getResponse", "taskUUID": rendered(server)}
    sizes = [
        len(httpx2.post(f"{server.url}/v1", json=[question] * number, headers=KEY, timeout=TASK_SECONDS).content)
        for number in (1, 100)
    ]
    assert sizes[0] == sizes[1]


async def test_answers_that_nobody_reads_are_bounded(server: ChaosServer) -> None:
    """676 MB in 16 s: each answer was held with its pictures."""
    question = json.dumps([{"taskType": "getResponse", "taskUUID": await asyncio.to_thread(rendered, server)}])
    before = server.peak_memory()
    url = f"{server.url.replace('http', 'ws')}/v1"
    async with websockets.connect(url, additional_headers=KEY, max_queue=1, ping_interval=None) as socket:
        with contextlib.suppress(websockets.ConnectionClosed, TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                for _ in range(4000):
                    await socket.send(question)
        grown = server.peak_memory() - before
    assert grown < 150 * MB
    assert await asyncio.to_thread(rendered, server)
