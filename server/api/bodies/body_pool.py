"""Runs the parsing and the checks of large bodies beside the event loop. Shared by all dialects."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

LARGE_BODY = 65_536  # bytes; a smaller body costs less than the way to a thread and back
TASK_SIZE = 4096  # bytes; a task takes about a millisecond, however short it is
THREADS = 2  # so that one client's large body does not hold up another's

P = ParamSpec("P")
T = TypeVar("T")


def request_size(size: int, tasks: int) -> int:
    """The size of a request by the work that it makes: a body of `size` bytes with a number of tasks."""
    return max(size, tasks * TASK_SIZE)


class BodyPool:
    """A few threads for large bodies. Small ones are worked on at once, on the event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="body")

    async def run(self, size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `work(...)`, done on a thread if the body has more than `LARGE_BODY` bytes. Raises what it raises."""
        if size <= LARGE_BODY:
            return work(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Drop what waits. What runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
