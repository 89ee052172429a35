"""A job: one accepted task, what it is to draw, and what has become of it.

Plain frozen data. Knows no wire format (`task` is kept for whoever accepted it) and no process.
"""

from dataclasses import dataclass
from typing import Any, Literal

from accel.cache.report import CacheReport
from pipelines.request import RenderRequest
from server.errors import Failure, TaskCancelled
from server.media.encode import Encoding

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Submission:
    """A validated task on its way into the queue.

    `image_uuids` has one UUID for each image it will draw, `ttl` is in seconds, and `warnings` grow while it runs.
    """

    owner: str
    task_uuid: str
    task: dict[str, Any]
    request: RenderRequest
    encoding: Encoding
    image_uuids: tuple[str, ...]
    ttl: int
    warnings: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What makes a job unique: a task UUID is one owner's."""
        return self.owner, self.task_uuid.lower()


@dataclass(frozen=True, slots=True)
class Result:
    """One finished image of a job.

    `seconds` is the time inside the worker, `receipt` the worker's, as JSON, and `cache` what a step cache did.
    """

    index: int
    image_uuid: str
    seed: int
    seconds: float
    receipt: str
    cache: CacheReport | None = None


CANCELLED = Failure("taskCancelled", "The task was cancelled.", TaskCancelled.status)


@dataclass(frozen=True, slots=True)
class Job:
    """A submission with its history. Times are seconds since the epoch; `results` are in the order of their index."""

    id: int
    submission: Submission
    state: State
    created: float
    started: float | None = None
    finished: float | None = None
    failure: Failure | None = None
    results: tuple[Result, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED
