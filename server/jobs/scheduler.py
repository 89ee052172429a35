"""The order of a queue: who may join it, and who is next.

Brings together the stored jobs, the policy and the limits of keys. Decides nothing that `policy` decides. Knows no
worker and no wire format.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import count

from pipelines.batching import BatchGains
from pipelines.request import RenderRequest
from server.errors import Failure
from server.jobs.job import Job
from server.jobs.policy.admission import RATE_SECONDS, QueueBounds, QueueState, check_room
from server.jobs.policy.batches import member_of
from server.jobs.policy.company import Neighbour, choose_beside, joins_batch, waits_for
from server.jobs.policy.fair_share import Waiting
from server.jobs.policy.forecast import Load, Turn, forecast
from server.jobs.policy.priority import PriorityShare
from server.jobs.storage.store import JobStore
from server.keys.api_key import KeyLimits


@dataclass(frozen=True, slots=True)
class Busy:
    """A worker that takes jobs: the owner of each of its jobs, and the seconds that are left of it.

    `low_jobs` are those of low priority.
    """

    jobs: tuple[tuple[str, float], ...] = ()
    low_jobs: tuple[tuple[str, float], ...] = ()

    @property
    def load(self) -> Load:
        """The seconds until all its jobs are done."""
        return Load(sum(left for _, left in self.jobs), sum(left for _, left in self.low_jobs))


class Scheduler:
    """The order of one queue. `workers` says what the workers do now."""

    def __init__(
        self,
        store: JobStore,
        bounds: QueueBounds,
        limits: Callable[[str], KeyLimits],
        workers: Callable[[], Sequence[Busy]],
    ) -> None:
        self._store = store
        self._bounds = bounds
        self._limits = limits
        self._workers = workers
        self._share = PriorityShare(lambda owner: limits(owner).weight)
        self._claiming = asyncio.Lock()
        self._joining = asyncio.Lock()
        self._places: dict[int, Waiting] = {}  # held by tasks that are not in the queue yet
        self._numbers = count()
        self._running: dict[int, Waiting] = {}
        self._reading: asyncio.Task[list[Turn]] | None = None  # that has not begun

    @contextlib.asynccontextmanager
    async def place(self, owner: str, seconds: float, *, low: bool = False) -> AsyncIterator[None]:
        """Hold a place in the queue for a task of about these seconds, until it has joined or was refused.

        Raises `RateLimitExceeded`.
        """
        number = next(self._numbers)
        async with self._joining:
            held = dict(self._places)  # one that joins meanwhile is counted once at least
            waiting, now = await self._store.waiting(), time.time()
            accepted = await self._store.accepted_since(owner, now - RATE_SECONDS)
            held = list((held | self._places).values())
            last = max((task.job_id for task in waiting), default=0)
            task = Waiting(last + 1 + number, owner, seconds, low=low)
            workers = self._workers()
            state = QueueState(
                waiting=(*waiting, *held),
                workers=tuple(worker.load for worker in workers),
                own_running=tuple(
                    left for worker in workers for whose, left in (*worker.jobs, *worker.low_jobs) if whose == owner
                ),
                own_ages=(*(now - at for at in accepted), *(0.0 for each in held if each.owner == owner)),
            )
            check_room(task, self._limits(owner), self._bounds, state, self._share)
            self._places[number] = task
        try:
            yield
        finally:
            del self._places[number]

    async def claim(
        self,
        neighbours: Sequence[Neighbour] = (),
        *,
        takes_normal: bool = True,
        takes_low: bool = True,
        gains: BatchGains | None = None,
    ) -> Job | None:
        """Set the job that is next to running. None when no job waits that may join its neighbours at the worker.

        `takes_normal` and `takes_low` say whether one of such a priority may join them. Others may join their batch,
        where `gains` say that it pays.
        """
        takes: dict[int, bool] = {}  # without a batch

        def choose(waiting: Sequence[Waiting]) -> Waiting | None:
            found = choose_beside(self._share, waiting, neighbours, takes_normal=takes_normal, takes_low=takes_low)
            chosen = found if found is not None or gains is None else self._share.choose(waiting)
            if chosen is not None:
                takes[chosen.job_id] = found is not None
            return chosen

        def fits(chosen: Waiting, request: RenderRequest) -> bool:
            if takes[chosen.job_id] or gains is None:
                return takes[chosen.job_id]
            return joins_batch(chosen, member_of(request, gains, low=chosen.low), neighbours, gains.tasks_together)

        def beside(chosen: Waiting) -> Sequence[int]:
            return [each.job_id for each in waits_for(neighbours, low=chosen.low)]

        async with self._claiming:
            job = await self._store.claim(choose, beside, fits)
            if job is not None and not job.ended:
                task = Waiting(job.id, job.submission.owner, job.estimate, low=job.submission.low)
                self._share.begin(task)
                self._running[job.id] = task
            return job

    async def gives_way(self, job: Job, used: float, left: float) -> bool:
        """Whether it is the turn of another key between two images of a job, with the same model.

        `used` are the seconds that the job has taken so far, and `left` those of its other images. Weights of another
        model would be loaded and dropped in turns. A job of low priority gives way all the same.
        """
        waiting = await self._store.waiting(prepared=True)
        other = self._share.gives_way(self._running[job.id], used, left, waiting)
        if other is None:
            return False
        return other.low != job.submission.low or len(await self._store.models((job.id, other.job_id))) == 1

    async def put_back(self, job: Job, left: float) -> None:
        """Let a job wait again for its other images, which take about `left` seconds."""
        await self._store.put_back(job.id, left)

    async def withdraw(self, job: Job, reason: Failure) -> Job | None:
        """Cancel a job that was put back. None if it is rendered again already."""
        return await self._store.end_queued(*job.submission.key, reason)

    def weight(self, job: Job) -> float:
        """The weight of the owner of a job."""
        return self._limits(job.submission.owner).weight

    async def begin(self, job: Job) -> Job:
        """A worker has begun a job that was claimed beside others."""
        return await self._store.begin(job.id)

    async def try_again(self, job: Job) -> bool:
        """Let a job wait again whose worker has died. False when it was tried often enough."""
        return await self._store.try_again(job.id)

    def release(self, job: Job, used: float) -> None:
        """A worker has left a job that was claimed. The seconds that it took are charged to the owner."""
        self._share.end(self._running.pop(job.id), used)

    async def turns(self) -> list[Turn]:
        """When each waiting job is expected to begin and to end, in their order.

        All who ask before the jobs are read share one answer: a change of the queue wakes all who watch it.
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_turns())
        return await asyncio.shield(self._reading)

    async def _read_turns(self) -> list[Turn]:
        self._reading = None  # who asks from now on may know of a later change
        waiting = await self._store.waiting()
        return forecast(self._share, [worker.load for worker in self._workers()], waiting)
