"""What the API process and a worker process say to each other: small frozen messages, no pictures.

Pictures travel through the file system: the API process says where each one belongs, the worker writes it there.
"""

from dataclasses import dataclass
from pathlib import Path

from accel.cache.report import CacheReport
from pipelines.request import RenderRequest
from server.errors import Failure
from server.media.encode import Encoding


@dataclass(frozen=True, slots=True)
class Output:
    """One image still to be drawn: its index in the request and the file it belongs in."""

    index: int
    path: Path


@dataclass(frozen=True, slots=True)
class RenderJob:
    """Draw these images of a request."""

    job_id: int
    request: RenderRequest
    encoding: Encoding
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a job at its next step. A job that has ended meanwhile is left alone."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process at its next step, whatever it is doing."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker can take jobs; `device` is in words."""

    device: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The worker cannot start; the message says why and what to do."""

    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` of `steps` denoising steps of one image are done."""

    job_id: int
    index: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class ImageWritten:
    """An image is in its file. `seconds` counts from the start of the image to the file; `receipt` is JSON.

    `cache` is what a step cache did, None without one.
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


@dataclass(frozen=True, slots=True)
class Finished:
    """All images of a job are written."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A job was stopped; the images before it are written."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A job ended with an error. Its message is fit for the client."""

    job_id: int
    failure: Failure


Outcome = Finished | Cancelled | Failed  # the last reply to a job
Reply = Ready | StartFailed | Progress | ImageWritten | Outcome
