"""Cancels the work on a task that is not in the queue: fetching its pictures, preprocessing, installing a LoRA.

Knows the owner and the id of each task, and no queue, no disk and no wire format.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from server.errors import TaskCancelled
from server.jobs.job import CANCELLED


@dataclass(frozen=True, slots=True)
class _Scope:
    """The block that can be cancelled, and whether it was: known when it has ended."""

    block: asyncio.Timeout
    cancelled: "asyncio.Future[bool]"


class CancelScopes:
    """The work under way of one server, by owner and task id."""

    def __init__(self) -> None:
        self._scopes: dict[tuple[str, str], set[_Scope]] = defaultdict(set)

    @contextlib.asynccontextmanager
    async def open(self, owner: str, task_id: str) -> AsyncIterator[None]:
        """Let the block be cancelled as the work on a task. Raises `TaskCancelled` in its place then."""
        key = owner, task_id.lower()
        # A timeout without a time: it ends the block at the moment that `cancel` sets.
        scope = _Scope(asyncio.timeout(None), asyncio.get_running_loop().create_future())
        self._scopes[key].add(scope)
        try:
            async with scope.block:
                yield
        except TimeoutError as error:
            if not scope.block.expired():
                raise
            scope.cancelled.set_result(True)
            raise TaskCancelled(CANCELLED.message) from error
        finally:
            if not scope.cancelled.done():
                scope.cancelled.set_result(False)
            self._scopes[key].discard(scope)
            if not self._scopes[key]:
                del self._scopes[key]

    async def cancel(self, owner: str, task_id: str) -> bool:
        """End the work on a task. Returns false when there is none, or when it ended by itself."""
        scopes = tuple(self._scopes.get((owner, task_id.lower()), ()))
        for scope in scopes:
            if not scope.block.expired():
                scope.block.reschedule(asyncio.get_running_loop().time())
        return any(await asyncio.gather(*(scope.cancelled for scope in scopes)))
