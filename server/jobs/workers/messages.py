"""The messages between the API process and a worker: small and frozen.

Images go through the file system: the API process names the file of each one, and the worker writes it. Previews are
small enough for a message.
"""

from dataclasses import dataclass
from pathlib import Path

from accel.cache.report import CacheReport
from pipelines.batching import BatchGains
from pipelines.models.engaged import Engaged
from pipelines.request import RenderRequest
from server.errors import Failure
from server.jobs.estimates import Measured
from server.jobs.job import SafetyAction
from server.media.encode import Encoding


@dataclass(frozen=True, slots=True)
class Output:
    """One image to render: its index in the request, and its file."""

    index: int
    path: Path


@dataclass(frozen=True, slots=True)
class RenderJob:
    """Render these images of a request. `task_uuid` is for the log.

    `safety` is what to do with an unsafe image, None for no check. With `alone` nothing else is rendered meanwhile.
    `owner` and its `weight` are for the turns with other jobs. With `low` it gives way to jobs without.
    """

    job_id: int
    request: RenderRequest
    encoding: Encoding
    outputs: tuple[Output, ...]
    task_uuid: str = ""
    safety: SafetyAction | None = None
    alone: bool = False
    owner: str = ""
    weight: float = 1.0
    low: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a job at its next step. Has no effect on a job that has ended."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Send previews of a job from now on, or no more. A job begins without."""

    job_id: int
    watched: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with `Pong`."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process at its next step, with or without a job."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker takes jobs. `device` is in words, `seconds` is the time that it took to load.

    `engaged` is what its first model runs with. `gains` are the measurements of batches that hold on it.
    """

    device: str
    seconds: float
    engaged: Engaged | None = None
    gains: BatchGains | None = None


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The worker cannot start. The message says why."""

    message: str


@dataclass(frozen=True, slots=True)
class Pong:
    """The worker reads its messages."""


@dataclass(frozen=True, slots=True)
class Loading:
    """Other weights are loaded for a job, which may take minutes."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` of the `steps` denoising steps of an image are done. `reused` says that the last one was not computed.

    `together` images are as far, from `index` on.
    """

    job_id: int
    index: int
    step: int
    steps: int
    reused: bool = False
    together: int = 1


@dataclass(frozen=True, slots=True)
class Preview:
    """A small picture of an image after a step, as a JPEG file."""

    job_id: int
    index: int
    step: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the work on an image. Times are in seconds since the epoch."""

    name: str
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class ImageWritten:
    """An image is in its file.

    `seconds` is the time from the start of the image to its file, and `busy` that without the parts of other images,
    None where they are the same. `receipt` is JSON. `cache` is the report of the step cache, None without one.
    `engaged` is what the model ran with. `recompiled` counts the graphs that were compiled during the render.
    `measured` are the seconds of its parts, None where they tell nothing. `overlapped` says whether steps of another
    image ran while it was decoded or written. `phases` are in order. `together` images at most had a step in one pass,
    1 if it went alone. `batched_branches` says whether both branches of guidance ran as one batch.
    """

    job_id: int
    index: int
    width: int
    height: int
    sha256: str
    seed: int
    seconds: float
    receipt: str
    warnings: tuple[str, ...]
    cache: CacheReport | None = None
    engaged: Engaged | None = None
    recompiled: int = 0
    unsafe: bool | None = None
    measured: Measured | None = None
    overlapped: bool = False
    busy: float | None = None
    phases: tuple[Phase, ...] = ()
    together: int = 1
    batched_branches: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """All images of a job are written."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A job was stopped. The images that were finished before are written."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A job ended with an error. Its message is fit for the client."""

    job_id: int
    failure: Failure


Outcome = Finished | Cancelled | Failed  # the last reply to a job
Reply = Ready | StartFailed | Pong | Loading | Progress | Preview | ImageWritten | Outcome
