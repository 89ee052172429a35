"""Result items: the images of a job on the wire.

Names the finished files. Reads none, and renders nothing.
"""

from collections.abc import Mapping
from typing import Any

from server.api.json_output.file_texts import FileText
from server.api.runware.responses import Answer, Item, TaskRef, error_object
from server.api.runware.translate.spec import DIALECT
from server.api.urls.image_urls import image_url
from server.errors import ApiError, Failure, NotFound
from server.jobs.job import Job, Result
from server.media.store import Media, MediaStore
from server.tasks.pictures.picture_tasks import PictureTask


def job_ref(job: Job) -> TaskRef:
    """The task of a job. A job of another dialect is an imageInference here."""
    return TaskRef(_wire(job).get("taskType", "imageInference"), job.submission.task_uuid)


def _wire(job: Job) -> Mapping[str, Any]:
    """The task as it was sent. One of another dialect has no fields that mean anything here."""
    return job.submission.task if job.submission.dialect == DIALECT else {}


async def image_item(job: Job, result: Result, media: MediaStore, base_url: str, *, status: bool) -> Item:
    """One image in the task's output type. Raises `NotFound` when its file has expired."""
    task = _wire(job)
    item: Item = job_ref(job).keys
    if status:
        item["status"] = "success"
    item["imageUUID"] = result.image_uuid
    found = await media.get(result.image_uuid, owner=job.submission.owner)
    if found is None:
        raise NotFound("The image has expired.", code="imageNotFound")
    item |= media_item("image", found, task.get("outputType", "URL"), base_url)
    item["seed"] = result.seed
    if result.unsafe is not None:
        item["NSFWContent"] = result.unsafe
    if task.get("includeCost"):
        item["cost"] = 0.0  # your own GPU costs nothing
    return item


def failure_item(failure: ApiError | Failure, ref: TaskRef) -> Item:
    """An error of a task that has ended, where results are told apart by their status."""
    return error_object(failure, ref) | {"status": "error"}


def media_item(name: str, media: Media, kind: str, base_url: str) -> Item:
    """A stored picture in one of the three output types. The name is `image`, `media` or `guideImage`.

    Its file is read when the answer is sent.
    """
    if kind == "URL":
        return {f"{name}URL": image_url(base_url, media.uuid, media.path.suffix[1:])}
    if kind == "base64Data":
        return {f"{name}Base64Data": FileText(media.path)}
    return {f"{name}DataURI": FileText(media.path, f"data:{media.mime};base64,")}


async def job_answer(job: Job, media: MediaStore, base_url: str) -> Answer:
    """All images of an ended job, and its error if it has one."""
    items: list[Item] = []
    errors: list[Item] = []
    ref = job_ref(job)
    try:
        for result in job.results:
            if result.failure is None:
                items.append(await image_item(job, result, media, base_url, status=True))
    except ApiError as error:
        errors.append(failure_item(error, ref))
    errors += [failure_item(result.failure, ref) for result in job.results if result.failure is not None]
    if job.failure is not None:
        errors.append(failure_item(job.failure, ref))
    return Answer(tuple(items), tuple(errors), warnings=job.submission.warnings)


def picture_ref(task: PictureTask) -> TaskRef:
    """The task of an upload or a preprocessing task."""
    return TaskRef(task.task["taskType"], task.task["taskUUID"])


async def picture_answer(task: PictureTask, media: MediaStore, base_url: str, *, status: bool) -> Answer:
    """The stored picture of an upload or a preprocessing task, or why it failed.

    `status` adds the state of the task, as for `getResponse`. Raises `NotFound` when the picture has been deleted.
    """
    wire, ref = task.task, picture_ref(task)
    item: Item = ref.keys
    if task.picture_uuid is None or task.uploading:
        return Answer(data=(item | {"status": "processing"},))
    if task.failure is not None:
        error = failure_item(task.failure, ref) if status else error_object(task.failure, ref)
        return Answer(errors=(error,), status=task.failure.status)
    picture = await media.get(task.picture_uuid, owner=task.owner)
    if picture is None:
        raise NotFound("The image has expired.", code="imageNotFound")
    if status:
        item["status"] = "success"
    if wire["taskType"] == "imageUpload":
        item |= {"imageUUID": picture.uuid} | media_item("image", picture, "URL", base_url)
    elif wire["taskType"] == "mediaStorage":
        item |= {"operation": "upload", "mediaUUID": picture.uuid}
        item |= media_item("media", picture, "URL", base_url)
    else:
        item |= {"guideImageUUID": picture.uuid, "inputImageUUID": task.input_uuid}
        item |= media_item("guideImage", picture, wire.get("outputType", "URL"), base_url)
        if wire.get("includeCost"):
            item["cost"] = 0.0
    return Answer(data=(item,), warnings=task.warnings)
