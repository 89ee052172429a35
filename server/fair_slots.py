"""A few slots that many callers share in turn, so that no caller holds up all others. Knows nothing of the work."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator


class FairSlots:
    """`total` pieces of work at once, at most `each` of them of one caller. Callers that wait take turns."""

    def __init__(self, total: int, each: int) -> None:
        self._free = total
        self._each = each
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # in the order of their turns

    @contextlib.asynccontextmanager
    async def take(self, caller: str) -> AsyncIterator[None]:
        """Hold a slot within this block. Waits for one."""
        await self.acquire(caller)
        try:
            yield
        finally:
            self.release(caller)

    async def acquire(self, caller: str) -> None:
        """Wait for a slot, for work that outlives its caller. It is held until `release`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # granted at the same time
                self.release(caller)
            raise

    def release(self, caller: str) -> None:
        """Give back a slot that was acquired."""
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        self._grant()

    def _grant(self) -> None:
        for caller in list(self._waiting):
            turns = self._waiting[caller]
            while turns and turns[0].cancelled():
                turns.popleft()
            if turns and self._free and self._held[caller] < self._each:
                turns.popleft().set_result(None)
                self._free -= 1
                self._held[caller] += 1
                del self._waiting[caller]
                if turns:
                    self._waiting[caller] = turns  # behind the others
            elif not turns:
                del self._waiting[caller]
