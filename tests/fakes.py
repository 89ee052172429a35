"""Hand-written stand-ins that behave like the real thing, only smaller."""

import asyncio
import hashlib
import io
import threading
from collections.abc import AsyncIterator, Callable

from PIL import Image

from server.jobs.messages import Cancelled, Failed, Finished, ImageWritten, Order, Progress, Reply
from server.jobs.worker_process import RendererDied, RendererNotReady
from server.media.encode import encode

PAUSE_SECONDS = 0.002


class FakeRenderer:
    """Draws flat pictures whose colour is the seed, in two steps each.

    `hold` keeps it at its first step until released; `fail` makes it fail; `die` makes the process end once.
    """

    def __init__(self, device: str = "fake") -> None:
        self.device = device
        self.description = f"{device} device"
        self.held = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.fail: tuple[str, str] | tuple[str, str, str] | None = None
        self.die = False
        self.not_ready: str | None = None
        self.starts = 0
        self.orders: list[Order] = []
        self._cancelled: set[int] = set()
        self._hold_from = 0

    def hold(self, index: int = 0) -> None:
        """Stop at the first step of an order's image of that index, until `release`."""
        self._hold_from = index
        self.held.clear()
        self.go.clear()

    def release(self) -> None:
        self.go.set()

    async def start(self, on_end: Callable[[], None]) -> None:
        self.starts += 1
        self.on_end = on_end
        if self.not_ready is not None:
            raise RendererNotReady(self.not_ready)

    async def render(self, order: Order) -> AsyncIterator[Reply]:
        self.orders.append(order)
        if self.die:
            self.die = False
            raise RendererDied
        for target in order.targets:
            for step in (1, 2):
                yield Progress(order.job_id, target.index, step, 2)
                if target.index >= self._hold_from:
                    self.held.set()
                    await self._released(order)
                if order.job_id in self._cancelled:
                    yield Cancelled(order.job_id)
                    return
            if self.fail is not None:
                yield Failed(order.job_id, *self.fail)
                return
            yield self._draw(order, target.index)
        yield Finished(order.job_id)

    async def _released(self, order: Order) -> None:
        while not self.go.is_set() and order.job_id not in self._cancelled:  # noqa: ASYNC110  set by a thread
            await asyncio.sleep(PAUSE_SECONDS)

    def cancel(self, job_id: int) -> None:
        self._cancelled.add(job_id)

    async def stop(self) -> None:
        self.go.set()

    def _draw(self, order: Order, index: int) -> ImageWritten:
        request = order.request
        seed = request.seed + index
        image = Image.new("RGB", (request.width, request.height), (seed % 256, 128, 200))
        data = encode(image, order.encoding)
        path = next(target.path for target in order.targets if target.index == index)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        return ImageWritten(order.job_id, index, image.width, image.height, digest, seed, 0.01, "{}", ())


def picture(width: int = 64, height: int = 48, image_format: str = "PNG") -> bytes:
    """A small picture with some structure, encoded."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    image.paste((220, 40, 40), (0, 0, width // 3, height // 2))
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()
