import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.caller import caller_address
from server.errors import MediaError
from server.media.decoding import decoder_pool
from server.media.decoding.decode import Picture
from server.media.decoding.decoder_pool import DecoderPool
from tests.fakes import picture

LIMIT = 10**6
HELD = b"held"


class FakeDecoder:
    """Decodes nothing. The bytes `HELD` are held until the decoder is stopped."""

    running = 0
    begun = threading.Event()

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def start(self) -> None: ...

    def decode(self, data: bytes, max_pixels: int, path: Path | None, longest: int | None) -> Picture:
        if data == HELD:
            FakeDecoder.running += 1
            self.begun.set()
            self._stopped.wait()
            FakeDecoder.running -= 1
            raise MediaError("stopped")
        if path is not None:
            path.write_bytes(data)
        return Picture("image/png", "png", max_pixels, 1)

    def stop(self) -> None:
        self._stopped.set()

    def kill(self) -> None: ...


@pytest.fixture
async def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DecoderPool]:
    monkeypatch.setattr(decoder_pool, "DecoderProcess", FakeDecoder)
    FakeDecoder.begun.clear()
    pool = DecoderPool(tmp_path / "drafts", 2)
    yield pool
    pool.close()


@pytest.mark.slow
async def test_one_clients_pictures_do_not_hold_up_anothers(pool: DecoderPool) -> None:
    held = [asyncio.create_task(pool.check(HELD, LIMIT, owner="greedy")) for _ in range(4)]
    assert (await pool.check(b"a", LIMIT, owner="other")).width == LIMIT
    caller_address.set("192.0.2.7")
    assert (await pool.check(b"a", LIMIT, owner="greedy")).width == LIMIT
    assert FakeDecoder.running == 1
    for task in held:
        task.cancel()
    await asyncio.wait(held)
    assert FakeDecoder.running == 0


async def test_a_draft_is_there_for_as_long_as_it_is_used(pool: DecoderPool) -> None:
    async with pool.rewrite(b"a", LIMIT, owner="") as new:
        assert new.path.read_bytes() == b"a"
    assert not new.path.exists()


async def test_drafts_of_an_earlier_server_are_deleted(pool: DecoderPool, tmp_path: Path) -> None:
    left = tmp_path / "drafts" / "left.png"
    left.parent.mkdir()
    left.touch()
    await pool.open()
    assert not left.exists()


async def test_the_end_does_not_wait_for_a_picture(pool: DecoderPool) -> None:
    decoding = asyncio.create_task(pool.check(HELD, LIMIT, owner=""))
    await asyncio.to_thread(FakeDecoder.begun.wait)
    pool.close()
    with pytest.raises(MediaError):
        await decoding


@pytest.mark.slow
async def test_a_real_process(tmp_path: Path) -> None:
    pool = DecoderPool(tmp_path / "drafts", 2)
    try:
        await pool.open()
        assert (await pool.check(picture(), LIMIT, owner="")).width == 64
    finally:
        pool.close()
