"""Hostile pictures cost their sender, and hold up nobody else."""

import asyncio
import base64
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.chaos.servers import TASK_SECONDS, ChaosServer, chaos_server
from tests.fakes import picture
from tests.odd_images import chunk, save, with_empty_scans

pytestmark = pytest.mark.chaos

KEYS = ("--api-keys", "greedy,other")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosServer]:
    """One server for the pictures that it survives."""
    with chaos_server(tmp_path_factory.mktemp("pictures"), *KEYS) as server:
        yield server


def large_png() -> bytes:
    """A PNG of 64 megapixels and 190 kB."""
    row = b"\0" + bytes(3 * 8000)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(8000)) + packer.flush()
    head = (8000).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


async def upload(server: ChaosServer, data: bytes, key: str) -> dict[str, Any]:
    """Upload a picture and return the first item of the answer."""
    task = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": base64.b64encode(data).decode()}
    async with httpx2.AsyncClient(timeout=TASK_SECONDS) as web:
        headers = {"Authorization": f"Bearer {key}"}
        answer = (await web.post(f"{server.url}/v1", json=[task], headers=headers)).json()
    return (answer.get("data") or answer["errors"])[0]


async def test_large_pictures_of_one_client_hold_up_no_other(server: ChaosServer) -> None:
    """16 PNGs of 64 megapixels held up the others for 9.6 s, because pictures were decoded one at a time."""
    large = large_png()
    greedy = [asyncio.create_task(upload(server, large, "greedy")) for _ in range(8)]
    await asyncio.wait(greedy, return_when=asyncio.FIRST_COMPLETED)
    done = []
    for task in greedy:
        task.add_done_callback(done.append)
    for number in range(3):
        assert "imageURL" in await upload(server, picture(64 + number), "other")
    assert len(done) <= 4
    answers = await asyncio.gather(*greedy)
    assert all("imageURL" in answer for answer in answers)


def slow_jpeg() -> bytes:
    """A progressive JPEG that takes 20 s and more to decode, with as many scans as are accepted."""
    return with_empty_scans(save(Image.effect_noise((6000, 6000), 20), "JPEG", progressive=True, quality=95), 85)


async def test_the_end_does_not_wait_for_pictures(tmp_path: Path) -> None:
    """SIGTERM took 32 s while a picture was being decoded."""
    with chaos_server(tmp_path, *KEYS) as server:
        decoding = asyncio.create_task(upload(server, slow_jpeg(), "greedy"))
        await upload(server, picture(), "other")
        assert await asyncio.to_thread(server.terminate) == 0
        await asyncio.wait([decoding])


async def test_a_jpeg_of_thousands_of_scans_is_refused(server: ChaosServer) -> None:
    """410 kB were decoded for 31 s, and again for each result."""
    honest = save(Image.effect_noise((1000, 1000), 20), "JPEG", progressive=True, quality=20)
    refused = await upload(server, with_empty_scans(honest, 3000), "greedy")
    assert "more than 100 scans" in refused["message"]


async def test_a_picture_that_takes_too_long_ends_its_decoder_only(server: ChaosServer) -> None:
    decoding = asyncio.create_task(upload(server, slow_jpeg(), "greedy"))
    assert "imageURL" in await upload(server, picture(), "other")
    assert not decoding.done()
    answer = await decoding
    assert "imageURL" in answer or "takes too long" in answer["message"]
    assert "imageURL" in await upload(server, picture(67), "greedy")
