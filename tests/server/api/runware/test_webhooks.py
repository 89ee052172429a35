"""The requests that receivers get, without sending them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.api.dialect import Notice
from server.api.runware.webhooks import RunwareWebhooks
from server.database import Database
from server.delivery.signatures import secret_key, standard_headers
from server.delivery.targets import Webhook
from server.errors import Failure
from server.jobs.job import Job, Result
from server.media import store as media_tables
from server.media.store import Media, MediaStore
from tests.server.jobs.common import SUBMISSION

WEBHOOK = Webhook("https://a.example/hook", "http://box:8000", ())
RESULT = Result(0, "0f", 5, 0.1, "{}")
TASK = {"taskType": "imageInference", "taskUUID": SUBMISSION.task_uuid}
JOB = Job(1, replace(SUBMISSION, task=TASK), "running", 0.0)
NOTICE = Notice("id-1", 1700000000, WEBHOOK, JOB, RESULT)


@pytest.fixture
def media(tmp_path: Path) -> Any:
    database = Database(tmp_path / "db.sqlite", [media_tables.SCHEMA])
    yield MediaStore(database, tmp_path)
    database.close()


async def store_result(media: MediaStore) -> None:
    """Store the picture of `RESULT`."""
    path = media.path_for("0f", "webp")
    path.parent.mkdir()
    path.touch()
    await media.adopt(Media("0f", "result", JOB.submission.owner, path, "image/webp", 4, 3, "hash", 0.0, None))


async def test_a_result_is_the_item_of_get_response(media: MediaStore) -> None:
    await store_result(media)
    post = await RunwareWebhooks(media).write(NOTICE)
    item = TASK | {"status": "success", "imageUUID": "0f", "imageURL": "http://box:8000/image/0f.webp", "seed": 5}
    assert json.loads(post.body) == {"data": [item]}
    assert post.headers == {
        "Content-Type": "application/json",
        "webhook-id": "id-1",
        "webhook-timestamp": "1700000000",
    }


async def test_a_failure_is_an_error(media: MediaStore) -> None:
    failed = replace(JOB, state="failed", failure=Failure("inferenceError", "why", 500, "loras[0]"))
    post = await RunwareWebhooks(media).write(replace(NOTICE, job=failed, result=None))
    error = {"code": "inferenceError", "message": "why", "parameter": "lora[0].model", "status": "error"}
    assert json.loads(post.body) == {"errors": [error | TASK]}


async def test_an_image_that_has_expired_is_an_error(media: MediaStore) -> None:
    inline = replace(JOB, submission=replace(JOB.submission, task=TASK | {"outputType": "base64Data"}))
    post = await RunwareWebhooks(media).write(replace(NOTICE, job=inline))
    (error,) = json.loads(post.body)["errors"]
    assert (error["code"], error["taskUUID"]) == ("imageNotFound", TASK["taskUUID"])


async def test_a_key_signs_what_is_sent(media: MediaStore) -> None:
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    post = await RunwareWebhooks(media, key).write(NOTICE)
    assert post.headers.items() >= standard_headers(key, "id-1", 1700000000, post.body).items()


async def test_an_end_without_a_failure_is_not_told(media: MediaStore) -> None:
    with pytest.raises(LookupError):
        await RunwareWebhooks(media).write(replace(NOTICE, result=None))
