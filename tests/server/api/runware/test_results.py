import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.api.json_output.file_texts import compact_json
from server.api.runware.responses import Item, TaskRef
from server.api.runware.results import image_item, job_answer, job_ref, media_item, picture_answer
from server.database import Database
from server.errors import Failure, NotFound
from server.jobs.job import Job, Result
from server.media import store as media_tables
from server.media.store import Media, MediaStore
from server.tasks.pictures.picture_tasks import PictureTask
from tests.server.jobs.common import SUBMISSION

BOX = "http://box:8000"
UUID = "3f0e8a52-6d0b-4a3e-9f5e-1f2d3c4b5a69"
RESULT = Result(0, UUID, 7, 0.1, "{}")


@pytest.fixture
def media(tmp_path: Path) -> Iterator[MediaStore]:
    database = Database(tmp_path / "db.sqlite", [media_tables.SCHEMA])
    yield MediaStore(database, tmp_path)
    database.close()


@pytest.fixture
async def stored(media: MediaStore, tmp_path: Path) -> Media:
    path = media.path_for(UUID, "webp")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"picture")
    found = Media(UUID, "result", "me", path, "image/webp", 4, 3, "hash", 0.0, None)
    await media.adopt(found)
    return found


def job(**task: object) -> Job:
    wire = {"taskType": "imageInference", "taskUUID": SUBMISSION.task_uuid, **task}
    submission = replace(SUBMISSION, dialect="runware", task=wire)
    return Job(1, submission, "done", 0.0, results=(RESULT,))


def sent(item: Item) -> Item:
    """An item as its client gets it."""
    return json.loads(compact_json(item))


async def test_an_image_in_each_output_type(media: MediaStore, stored: Media) -> None:
    item = await image_item(job(), RESULT, media, BOX, status=False)
    assert item == job_ref(job()).keys | {"imageUUID": UUID, "imageURL": f"{BOX}/image/{UUID}.webp", "seed": 7}
    text = base64.b64encode(b"picture").decode()
    item = await image_item(job(outputType="base64Data", includeCost=True), RESULT, media, BOX, status=True)
    assert (sent(item)["imageBase64Data"], item["status"], item["cost"]) == (text, "success", 0.0)
    assert sent(media_item("guideImage", stored, "dataURI", BOX)) == {
        "guideImageDataURI": f"data:image/webp;base64,{text}"
    }


async def test_the_task_of_another_dialect_has_no_fields_of_this_one(media: MediaStore, stored: Media) -> None:
    other = job(taskType=7, outputType="dataURI", includeCost=True)
    other = replace(other, submission=replace(other.submission, dialect="small"))
    item = await image_item(other, RESULT, media, BOX, status=False)
    assert item == await image_item(job(), RESULT, media, BOX, status=False)


@pytest.mark.parametrize("kind", ["URL", "dataURI", "base64Data"])
async def test_an_image_that_has_expired_is_an_error(media: MediaStore, kind: str) -> None:
    with pytest.raises(NotFound, match="expired"):
        await image_item(job(outputType=kind), RESULT, media, BOX, status=False)
    answer = await job_answer(job(outputType=kind), media, BOX)
    assert [(error["code"], error["status"]) for error in answer.errors] == [("imageNotFound", "error")]


async def test_a_job_tells_its_images_and_what_ended_it(media: MediaStore, stored: Media) -> None:
    failed = replace(job(), state="failed", failure=Failure("inferenceError", "out of memory", 500))
    answer = await job_answer(failed, media, BOX)
    assert [item["seed"] for item in answer.data] == [7]
    assert [error["message"] for error in answer.errors] == ["out of memory"]
    assert answer.warnings == SUBMISSION.warnings


@pytest.mark.parametrize(
    ("task", "keys"),
    [
        ({"taskType": "imageUpload"}, {"imageUUID", "imageURL"}),
        ({"taskType": "mediaStorage"}, {"operation", "mediaUUID", "mediaURL"}),
        (
            {"taskType": "controlNetPreprocess", "outputType": "URL", "includeCost": True},
            {"guideImageUUID", "inputImageUUID", "guideImageURL", "cost"},
        ),
    ],
    ids=["upload", "storage", "preprocessing"],
)
async def test_the_picture_of_a_task(media: MediaStore, stored: Media, task: dict[str, object], keys: set[str]) -> None:
    wire = {"taskUUID": "u", **task}
    answer = await picture_answer(PictureTask("me", "u", wire, UUID, "input"), media, BOX, status=False)
    (item,) = answer.data
    assert item.keys() - TaskRef("a", "b").keys.keys() == keys
    (item,) = (await picture_answer(PictureTask("me", "u", wire, UUID, "input"), media, BOX, status=True)).data
    assert item["status"] == "success"


async def test_a_picture_task_that_is_worked_on_and_one_whose_picture_is_gone(media: MediaStore) -> None:
    wire = {"taskType": "imageUpload", "taskUUID": "u"}
    (item,) = (await picture_answer(PictureTask("me", "u", wire), media, BOX, status=True)).data
    assert item["status"] == "processing"
    with pytest.raises(NotFound, match="expired"):
        await picture_answer(PictureTask("me", "u", wire, UUID), media, BOX, status=True)
