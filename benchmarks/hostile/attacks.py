"""What is done to a server with hostile inputs, by what the page calls it. Each one ends by itself."""

import contextlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from benchmarks.hostile.bodies import (
    MB,
    fields,
    form,
    inline,
    jpeg_of_scans,
    large_png,
    marks,
    picture,
    picture_text,
    task,
    tasks,
    texts,
)

KEY = "key"
HEADERS = {"Authorization": f"Bearer {KEY}"}
SECONDS = 60  # that one input may take
JSON, FORM = "application/json", "multipart/form-data; boundary=B"
# A path of each of the other dialects that takes pictures.
WAVESPEED, RUNPOD = "/api/v3/wavespeed-ai/qwen-image/edit", "/v2/qwen-image-edit/run"
EVOLINK, OPENAI = "/evolink/v1/images/generations", "/openai/v1/images/edits"

Attack = Callable[[str], None]


def post(make_body: Callable[[], bytes], *, key: bool = True, path: str = "/v1", kind: str = JSON) -> Attack:
    """Send a body, which is made then, and wait for its answer."""
    headers = {"Content-Type": kind, **(HEADERS if key else {})}
    return lambda url: httpx2.post(f"{url}{path}", content=make_body(), headers=headers, timeout=SECONDS).close()


def at_once(number: int, attack: Attack) -> Attack:
    """Make the same attack several times at once."""

    def attacks(url: str) -> None:
        threads = [threading.Thread(target=attack, args=(url,)) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return attacks


def unfinished_bodies(url: str) -> None:
    """Send 30 MB of each of 20 bodies that announce 40 MB, and hold the lines for a second."""
    head = f"POST /v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 40000000\r\n\r\n"
    with contextlib.ExitStack() as lines:
        for line in _connections(url, 20, lines):
            with contextlib.suppress(OSError):
                line.sendall(head.encode() + bytes(30 * MB))
        time.sleep(1)


def idle_connections(url: str) -> None:
    """Open 1,200 connections, and hold them for a second."""
    with contextlib.ExitStack() as lines:
        _connections(url, 1200, lines)
        time.sleep(1)


def _connections(url: str, number: int, opened: contextlib.ExitStack) -> list[socket.socket]:
    address = urlsplit(url)
    place = (address.hostname, address.port)
    return [opened.enter_context(socket.create_connection(place, SECONDS)) for _ in range(number)]


def _drawn(url: str) -> bytes:
    """Draw a picture of megabytes that is answered in base64, and return the question for it."""
    task_uuid = str(uuid.uuid4())
    drawing = task(taskUUID=task_uuid, outputType="base64Data", outputFormat="PNG", width=1024, height=1024, steps=1)
    post(lambda: drawing)(url)
    return json.dumps({"taskType": "getResponse", "taskUUID": task_uuid}).encode()


def repeated_questions(url: str) -> None:
    """Ask 1,000 times for a picture in one request."""
    question = _drawn(url)
    post(lambda: b"[" + b",".join([question] * 1000) + b"]")(url)


def unread_answers(url: str) -> None:
    """Ask 4,000 times for a picture over a WebSocket, and read no answer."""
    question = "[" + _drawn(url).decode() + "]"
    with (
        contextlib.suppress(ConnectionClosed, TimeoutError, OSError),
        connect(url.replace("http", "ws") + "/v1", additional_headers=HEADERS, max_queue=1) as line,
    ):
        line.socket.settimeout(10)
        for _ in range(4000):
            line.send(question)


def frame_of_a_stranger(url: str) -> None:
    """Send 99 MB over a WebSocket without a key."""
    with contextlib.suppress(ConnectionClosed, OSError), connect(url.replace("http", "ws") + "/v1") as line:
        line.send(marks().decode())


ATTACKS: dict[str, Attack] = {
    "`lora` of 5 million entries, 10 MB": post(lambda: task(lora=[1] * 5_000_000)),
    "100,000 unknown LoRAs": post(lambda: task(lora=[{"model": f"a:{n}@1", "weight": 1} for n in range(100_000)])),
    "a million unknown parameters": post(lambda: task(**{f"p{n}": 1 for n in range(1_000_000)})),
    "1,000 tasks of 150 unknown parameters": post(lambda: tasks(1000, **{f"p{n}": 1 for n in range(150)})),
    "99 MB of `[],` without a key": post(marks, key=False),
    "99 MB of `[],` with a key": post(marks),
    "99 MB of `[],` over a WebSocket, without a key": frame_of_a_stranger,
    "20 unfinished bodies of 30 MB": unfinished_bodies,
    "1,200 idle connections": idle_connections,
    "30 MB of percent-encoded bytes": post(lambda: picture_text("data:," + "%41" * 10_000_000)),
    "a picture of 60 MB in base64 that is none": post(lambda: picture(bytes(45 * MB))),
    "a JPEG of 3,000 scans": post(lambda: picture(jpeg_of_scans(3000))),
    "a JPEG of 16 megapixels and 90 scans": post(lambda: picture(jpeg_of_scans(80))),
    "16 PNGs of 64 megapixels": at_once(16, post(lambda: picture(large_png()))),
    "1,000 times the same `getResponse`": repeated_questions,
    "4,000 answers that nobody reads": unread_answers,
    "WaveSpeed: a picture of 60 MB that is none": post(lambda: fields(image=inline(45 * MB)), path=WAVESPEED),
    "WaveSpeed: 12 MB of texts": post(lambda: fields(**texts()), path=WAVESPEED),
    "WaveSpeed: a form with a file of 60 MB": post(
        lambda: form("file", bytes(60 * MB), file=True), path="/api/v3/media/upload/binary", kind=FORM
    ),
    "RunPod: a picture of 60 MB that is none": post(
        lambda: json.dumps({"input": {"prompt": "a", "image": inline(45 * MB)}}).encode(), path=RUNPOD
    ),
    "RunPod: 12 MB of texts": post(lambda: json.dumps({"input": {"prompt": "a", **texts()}}).encode(), path=RUNPOD),
    "EvoLink: a picture of 60 MB that is none": post(
        lambda: fields(model="qwen-image-edit-plus", image_urls=[inline(45 * MB)]), path=EVOLINK
    ),
    "EvoLink: 12 MB of texts": post(lambda: fields(model="qwen-image-edit-plus", **texts()), path=EVOLINK),
    "OpenAI: a picture of 60 MB that is none": post(lambda: fields(image=[inline(45 * MB)]), path=OPENAI),
    "OpenAI: 12 MB of texts": post(lambda: fields(**texts()), path=OPENAI),
    "OpenAI: a form with a file of 60 MB": post(
        lambda: form("image", bytes(60 * MB), file=True), path=OPENAI, kind=FORM
    ),
    "OpenAI: a form with a text of 60 MB": post(
        lambda: form("prompt", b"a" * (60 * MB), file=False), path=OPENAI, kind=FORM
    ),
}
