"""The decoder processes of a server, which clients share in turn. Knows bytes and files; knows no tasks."""

import asyncio
import contextlib
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from server.caller import caller_address
from server.fair_slots import FairSlots
from server.media.decoding.decode import Picture
from server.media.decoding.decoder_process import DecoderProcess

# Two at least, so that one client never has all of them. Each takes 60 MB and a core while it works.
PROCESSES = max(2, min(4, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A picture that has been written anew. The file is deleted unless it is moved."""

    path: Path
    picture: Picture


class DecoderPool:
    """Decodes pictures in processes of their own. `folder` holds what is being written, on the disk of the store."""

    def __init__(self, folder: Path, processes: int = PROCESSES) -> None:
        self._folder = folder
        self._idle = [DecoderProcess() for _ in range(processes)]
        self._all = tuple(self._idle)
        self._slots = FairSlots(processes, processes - 1)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="decoder")

    async def open(self) -> None:
        """Delete what an earlier server left, and start one decoder. The first picture then waits less."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._all[0].start()

    async def check(self, data: bytes, max_pixels: int, *, owner: str) -> Picture:
        """The type and the size of a picture that can be decoded. Raises `MediaError`."""
        return await self._decode(data, max_pixels, None, owner)

    @contextlib.asynccontextmanager
    async def rewrite(
        self, data: bytes, max_pixels: int, *, owner: str, longest: int | None = None
    ) -> AsyncIterator[Rewritten]:
        """The picture written anew for this block: by `rewrite_picture`, or by `shrink_picture` with `longest`.

        Raises `MediaError` and `OSError`.
        """
        path = self._folder / str(uuid.uuid4())
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
            yield Rewritten(path, await self._decode(data, max_pixels, path, owner, longest))
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    def close(self) -> None:
        """End all processes. Pictures that are being decoded fail."""
        for decoder in self._all:
            decoder.stop()
        self._threads.shutdown()
        for decoder in self._all:
            decoder.kill()

    async def _decode(
        self, data: bytes, max_pixels: int, path: Path | None, owner: str, longest: int | None = None
    ) -> Picture:
        async with self._slots.take(f"{owner} {caller_address.get()}"):
            decoder = self._idle.pop()
            loop = asyncio.get_running_loop()
            decoding = loop.run_in_executor(self._threads, decoder.decode, data, max_pixels, path, longest)
            try:
                return await asyncio.shield(decoding)
            finally:
                if not decoding.done():  # we are cancelled
                    decoder.stop()
                    await asyncio.wait([decoding])
                self._idle.append(decoder)
