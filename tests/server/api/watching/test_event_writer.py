from dataclasses import replace

import pytest

from server.api.access.client import Client
from server.api.watching.event_writer import EventWriter, ItemWriter, Json
from server.errors import Failure, NotFound
from server.jobs.events import Begun, Ended, PreviewReady, ResultReady, StepDone
from server.jobs.job import CANCELLED, Job, Result
from server.tasks.watching import Queued, TaskNews
from tests.server.jobs.common import SUBMISSION

RESULT = Result(0, "uuid", 7, 0.1, "{}")
JOB = Job(1, replace(SUBMISSION, dialect="own"), "done", 0.0)
OTHER = Job(1, replace(SUBMISSION, dialect="another"), "done", 0.0)
EXPIRED = Job(2, replace(SUBMISSION, dialect="own"), "done", 0.0)


class Items:
    async def result_item(self, job: Job, result: Result, client: Client) -> Json:
        if job == EXPIRED:
            raise NotFound("The image has expired.", code="imageNotFound")
        return {"own": result.image_uuid, "at": client.base_url}


@pytest.mark.parametrize(
    ("news", "name", "data"),
    [
        (Queued(3, 1.5), "queued", {"position": 3, "seconds": 1.5}),
        (Begun(JOB), "loading", {"model": SUBMISSION.request.model}),
        (StepDone(JOB, 1, 2, 20, reused=True), "step", {"index": 1, "step": 2, "steps": 20, "reused": True}),
        (
            PreviewReady(JOB, 0, 2, b"jpeg"),
            "preview",
            {"index": 0, "step": 2, "imageDataURI": "data:image/jpeg;base64,anBlZw=="},
        ),
        (ResultReady(JOB, RESULT), "result", {"own": "uuid", "at": "http://box"}),
        (
            ResultReady(OTHER, RESULT),
            "result",
            {"imageUUID": "uuid", "imageURL": "http://box/image/uuid.webp", "seed": 7},
        ),
        (
            ResultReady(EXPIRED, RESULT),
            "result",
            {"imageUUID": "uuid", "error": {"code": "imageNotFound", "message": "The image has expired."}},
        ),
        (Ended(JOB), "end", {"state": "done"}),
        (
            Ended(replace(JOB, state="cancelled", failure=CANCELLED)),
            "end",
            {"state": "cancelled", "error": {"code": "taskCancelled", "message": "The task was cancelled."}},
        ),
        (
            Ended(replace(JOB, state="failed", failure=Failure("invalidModel", "why", 400, "loras[1]"))),
            "end",
            {"state": "failed", "error": {"code": "invalidModel", "message": "why"}},
        ),
    ],
)
async def test_each_event(news: TaskNews, name: str, data: Json) -> None:
    items = Items()
    assert isinstance(items, ItemWriter)
    event = await EventWriter({"own": items}).write(news, Client("me", "http://box", listens=True))
    assert (event.name, event.data) == (name, data)
