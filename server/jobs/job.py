"""A job: one accepted task with its request, its state and its results.

Plain frozen data. Knows no process, and no wire format: `task` is stored for the dialect that accepted it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from accel.cache.report import CacheReport
from pipelines.request import RenderRequest
from server.delivery import outbox
from server.delivery.targets import Upload, Webhook
from server.errors import Failure, TaskCancelled
from server.media.encode import Encoding

# What becomes of an image that is not safe for work: its result says so, or its task fails.
SafetyAction = Literal["flag", "block"]
# A task of low priority is rendered while no other one waits.
Priority = Literal["normal", "low"]
State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})

# What came of the wish to cancel a task: it is cancelled now, it had ended before, or its owner has no such task.
Cancellation = Literal["cancelled", "ended", "unknown"]


@dataclass(frozen=True, slots=True)
class Submission:
    """A validated task on its way into the queue.

    `dialect` is the name of the dialect that accepted it. `image_uuids` has a UUID for each image of the
    request. `ttl` is in seconds. With `safety` None its images are not checked. `traceparent` names the span that
    accepted it, None without tracing. The worker adds to `warnings`.
    """

    owner: str
    dialect: str
    task_uuid: str
    task: dict[str, Any]
    request: RenderRequest
    encoding: Encoding
    image_uuids: tuple[str, ...]
    ttl: int
    webhook: Webhook | None = None
    upload: Upload | None = None
    safety: SafetyAction | None = None
    priority: Priority = "normal"
    traceparent: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def low(self) -> bool:
        """Whether it is of low priority."""
        return self.priority == "low"

    @property
    def key(self) -> tuple[str, str]:
        """The owner and the task UUID in lower case, which are unique together."""
        return self.owner, self.task_uuid.lower()


@dataclass(frozen=True, slots=True)
class Result:
    """One finished image of a job.

    `seconds` is the time from the start of the image to its file. `receipt` is JSON. `cache` is the report of the step
    cache, None without one. `recompiled` counts the graphs that were compiled during the render; it is not stored.
    `failure` says why the image could not be uploaded as its task asks. `unsafe` says whether it is not safe for work,
    None if it was not checked. `busy` are the seconds without the parts of other images, None where they are the same.
    `overlapped` says whether steps of another image ran while it was written, and `together` how many images at most
    had a step with it in one pass, with itself. `batched_branches` says whether both branches of guidance ran as one
    batch. These three are not stored.
    """

    index: int
    image_uuid: str
    seed: int
    seconds: float
    receipt: str
    cache: CacheReport | None = None
    recompiled: int = 0
    failure: Failure | None = None
    unsafe: bool | None = None
    busy: float | None = None
    overlapped: bool = False
    together: int = 1
    batched_branches: bool = False


CANCELLED = Failure("taskCancelled", "The task was cancelled.", TaskCancelled.status)


@dataclass(frozen=True, slots=True)
class Job:
    """A submission with its history. Times are seconds since the epoch. `results` are sorted by their index.

    `estimate` are the seconds that all its images were expected to take. `deliveries` counts its webhooks and uploads
    by their states. `tried` says that an earlier worker ended while it rendered the job.
    """

    id: int
    submission: Submission
    state: State
    created: float
    started: float | None = None
    finished: float | None = None
    failure: Failure | None = None
    results: tuple[Result, ...] = ()
    estimate: float = 0.0
    deliveries: Mapping[outbox.Kind, Mapping[outbox.State, int]] = field(default_factory=dict)
    tried: bool = False

    @property
    def ended(self) -> bool:
        """Whether the job is done, failed or cancelled."""
        return self.state in ENDED
