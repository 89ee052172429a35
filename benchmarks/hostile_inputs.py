"""Measures what hostile inputs cost: the longest stall of the server, and the memory that its processes take.

Starts a server of its own for each input. A process beside it asks `/healthz` all the time, as a load balancer does:

    python -m benchmarks.hostile_inputs --out benchmarks/results/hostile-cpu.jsonl --page docs/reference/reliability.md

Appends a JSON line for each input, with milliseconds and megabytes. `--page` writes the table of the latest lines.
"""

import argparse
import base64
import contextlib
import http.client
import io
import json
import multiprocessing
import os
import platform
import socket
import tempfile
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from benchmarks.page_tables import replace_between, rewrite_page
from benchmarks.records import append_line
from benchmarks.runs.process_status import status_bytes
from benchmarks.server import TASK, run_server

KEY = "key"
MB = 10**6
SECONDS = 60  # that one input may take
BEGIN, END = "<!-- hostile inputs: begin -->", "<!-- hostile inputs: end -->"
_HEADERS = {"Authorization": f"Bearer {KEY}"}
JSON, FORM = "application/json", "multipart/form-data; boundary=B"
# A path of each of the other dialects that takes pictures.
WAVESPEED, RUNPOD = "/api/v3/wavespeed-ai/qwen-image/edit", "/v2/qwen-image-edit/run"
EVOLINK, OPENAI = "/evolink/v1/images/generations", "/openai/v1/images/edits"
_PAUSE = 0.005  # between two questions, and between two looks at the memory

Attack = Callable[[str], None]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file to append the JSON lines to")
    parser.add_argument("--page", type=Path, help="page whose table is written anew from the file of --out")
    parser.add_argument("--only", help="measure inputs with this text in their name")
    options = parser.parse_args()
    setup = {"machine": platform.machine(), "python": platform.python_version(), "cores": os.cpu_count()}
    for name, attack in ATTACKS.items():
        if options.only is None or options.only in name:
            figures = measure(attack)
            print(f"{name:<60} " + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
            append_line(options.out, {"benchmark": "hostile", "input": name, **figures, **setup})
    if options.page is not None and options.out is not None:
        rewrite_page(options.page, options.out, with_table)


def measure(attack: Attack) -> dict[str, float]:
    """What one input costs a fresh server: `stall_ms`, `peak_mb` of the API process, `decoders_mb` of its decoders."""
    with tempfile.TemporaryDirectory() as folder, run_server(folder, "--api-keys", KEY) as server:
        httpx2.post(f"{server.url}/v1", json=[upload(small_picture())], headers=_HEADERS).raise_for_status()
        before = memory(server.pid)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        prober = multiprocessing.get_context("spawn").Process(target=probe, args=(server.url, theirs), daemon=True)
        prober.start()
        ours.recv()  # it has begun
        with watch_decoders(server.pid) as decoders, contextlib.suppress(httpx2.HTTPError):
            attack(server.url)
        ours.send(None)
        stall = ours.recv()
        prober.join()
        peak = memory(server.pid) - before
    return {"stall_ms": round(1000 * stall), "peak_mb": round(peak / MB), "decoders_mb": round(max(decoders) / MB)}


def probe(url: str, line: Connection) -> None:
    """Ask `/healthz` until told to stop, and send the longest time that an answer took, in seconds."""
    address = urlsplit(url)
    longest = 0.0
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port)) as web:
        line.send(None)
        while not line.poll():
            begun = time.perf_counter()
            web.request("GET", "/healthz")
            web.getresponse().read()
            longest = max(longest, time.perf_counter() - begun)
            time.sleep(_PAUSE)
    line.send(longest)


def memory(pid: int) -> int:
    """The most bytes that a process has had in memory; 0 for one that has ended."""
    try:
        return status_bytes(pid, "VmHWM")
    except OSError:
        return 0


@contextlib.contextmanager
def watch_decoders(pid: int) -> Iterator[list[int]]:
    """Note within this block how many bytes the decoders of a server take together. Each one's peak counts."""
    sums, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(_PAUSE):
            sums.append(sum(map(memory, decoders_of(pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sums
    finally:
        done.set()
        watcher.join()


def decoders_of(pid: int) -> Iterator[int]:
    """The ids of a server's decoder processes."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has those that it started
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                if b"decoder_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                    yield int(child)


def with_table(page: str, lines: Iterable[dict[str, Any]]) -> str:
    """The page with the latest figures of each input between its marks. Raises `ValueError` without the marks."""
    latest = {line["input"]: line for line in lines}
    table = ["| input | longest stall | memory of the API process | memory of the decoders |", "|---|---|---|---|"]
    for name, line in latest.items():
        decoders = f"{line['decoders_mb']} MB" if "decoders_mb" in line else "not measured"
        table.append(f"| {name} | {line['stall_ms']} ms | +{line['peak_mb']} MB | {decoders} |")
    return replace_between(page, BEGIN, END, "\n".join(table))


def upload(picture: bytes) -> dict[str, Any]:
    """A task that uploads a picture."""
    return {
        "taskType": "imageUpload",
        "taskUUID": str(uuid.uuid4()),
        "image": base64.b64encode(picture).decode("ascii"),
    }


def small_picture() -> bytes:
    """A picture of 64 by 64."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    return buffer.getvalue()


def large_png() -> bytes:
    """A PNG of 64 megapixels and 190 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = (8000).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(1 + 3 * 8000)) for _ in range(8000)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg_of_scans(number: int) -> bytes:
    """A progressive JPEG of 16 megapixels with a number of empty scans that it does not need."""
    buffer = io.BytesIO()
    Image.effect_noise((4000, 4000), 20).save(buffer, "JPEG", progressive=True, quality=20)
    data = buffer.getvalue()
    place = data.rindex(b"\xff\xda")
    return data[:place] + b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x01\x00" * number + data[place:]


def post(make_body: Callable[[], bytes], *, key: bool = True, path: str = "/v1", kind: str = JSON) -> Attack:
    """Send a body, which is made then, and wait for its answer."""
    headers = {"Content-Type": kind, **(_HEADERS if key else {})}
    return lambda url: httpx2.post(f"{url}{path}", content=make_body(), headers=headers, timeout=SECONDS).close()


def task(**parameters: Any) -> bytes:
    """The body of a request of one picture."""
    return tasks(1, **parameters)


def tasks(number: int, **parameters: Any) -> bytes:
    """The body of a request of that many tasks."""
    return json.dumps([{**TASK, "taskUUID": str(uuid.uuid4()), **parameters} for _ in range(number)]).encode()


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
        connect(url.replace("http", "ws") + "/v1", additional_headers=_HEADERS, max_queue=1) as line,
    ):
        line.socket.settimeout(10)
        for _ in range(4000):
            line.send(question)


def frame_of_a_stranger(url: str) -> None:
    """Send 99 MB over a WebSocket without a key."""
    with contextlib.suppress(ConnectionClosed, OSError), connect(url.replace("http", "ws") + "/v1") as line:
        line.send(marks().decode())


def marks() -> bytes:
    """99 MB of JSON that is nothing but empty lists."""
    return b"[" + b"[]," * (33 * MB) + b"[]]"


def picture(data: bytes) -> bytes:
    """The body of a request that uploads a picture."""
    return json.dumps([upload(data)]).encode()


def picture_text(text: str) -> bytes:
    """The body of a request that uploads what a text says."""
    return json.dumps([upload(b"") | {"image": text}]).encode()


def fields(**given: Any) -> bytes:
    """The body of a request that is one object."""
    return json.dumps({"prompt": "a", **given}).encode()


def inline(size: int) -> str:
    """Base64 of that many zeros, which is no picture."""
    return base64.b64encode(bytes(size)).decode("ascii")


def texts() -> dict[str, str]:
    """12 MB of texts that no parameter has."""
    return {f"p{n}": "a" * 65_000 for n in range(190)}


def form(name: str, data: bytes, *, file: bool) -> bytes:
    """The body of a form with one part."""
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"' + ('; filename="a.png"' if file else "")
    return head.encode() + b"\r\n\r\n" + data + b"\r\n--B--\r\n"


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


if __name__ == "__main__":
    main()
