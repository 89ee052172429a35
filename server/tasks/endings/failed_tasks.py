"""Records a task as failed that was acknowledged before it was checked, as some vendors do.

Its client polls for it, lists it, and gets its webhook as for any other task. Knows no wire format.
"""

from collections.abc import Mapping
from typing import Any

from server.delivery.targets import Webhook
from server.errors import ApiError, Failure
from server.jobs.job import Job, Submission
from server.jobs.queue import JobQueue
from server.jobs.storage.rows import UNKNOWN_REQUEST
from server.media.encode import DEFAULT_QUALITY, Encoding
from server.tasks.kept_task import shortened

# Characters of a text that are kept. An inline picture is far longer, and was not stored.
LONGEST_TEXT = 2_000


def never_ran(job: Job) -> bool:
    """Whether a job was recorded here. It has no images that it could render."""
    return not job.submission.image_uuids


async def record_failed(
    queue: JobQueue,
    error: ApiError,
    *,
    owner: str,
    dialect: str,
    task_id: str,
    task: Mapping[str, Any],
    webhook: Webhook | None = None,
) -> Job:
    """The failed job of a task that is refused. Raises `ConflictTaskUUID`."""
    submission = Submission(
        owner=owner,
        dialect=dialect,
        task_uuid=task_id,
        task={name: shortened(value, LONGEST_TEXT) for name, value in task.items()},
        request=UNKNOWN_REQUEST,
        encoding=Encoding("JPG", DEFAULT_QUALITY),
        image_uuids=(),
        ttl=0,
        webhook=webhook,
    )
    return await queue.accept_failed(submission, Failure(error.code, error.message, error.status))
