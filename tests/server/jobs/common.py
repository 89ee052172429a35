"""Submissions, and how the tests of jobs wait: for a condition or an event, never for a time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipelines.request import Reference, RenderRequest, Sampler
from server.jobs.events import Ended, Event, ResultReady
from server.jobs.job import Job, Submission
from server.media.encode import Encoding

POLL_SECONDS = 0.001

REQUEST = RenderRequest(
    model="runware:108@20",
    prompt="a red circle 红",
    negative_prompt=None,
    width=128,
    height=256,
    steps=3,
    sampler=Sampler("dpmpp_2m", "karras"),
    true_cfg_scale=2.5,
    seed=2**63 - 1,
    count=2,
    references=(Reference(Path("a.png"), "hash", 3, 4),),
)
SUBMISSION = Submission(
    owner="me",
    dialect="small",
    task_uuid="83E5A68E-074f-4bea-8e26-a6723ae9b2da",
    task={"any": "words of a dialect"},
    request=REQUEST,
    encoding=Encoding("WEBP", 80),
    image_uuids=("a", "b"),
    ttl=60,
    warnings=("one",),
)


def submission(number: int = 0, count: int = 1) -> Submission:
    """A task of its own for each number."""
    task_uuid = f"{number:08d}-0000-4000-8000-000000000000"
    return replace(
        SUBMISSION,
        task_uuid=task_uuid,
        request=replace(SUBMISSION.request, count=count, seed=number),
        image_uuids=tuple(f"{number:08d}-0000-4000-8000-{index:012d}" for index in range(count)),
    )


async def ended(events: "asyncio.Queue[Event]") -> Job:
    """The job once it has ended; its images come before."""
    while not isinstance(event := await events.get(), Ended):
        assert isinstance(event, ResultReady)
    return event.job


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that another thread or task makes true."""
    while not condition():  # noqa: ASYNC110  conditions of fakes have no event of their own
        await asyncio.sleep(POLL_SECONDS)
