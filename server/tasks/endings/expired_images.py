"""Jobs whose images have been deleted since. No client gets a dead address with success. Knows no wire format."""

from dataclasses import replace

from server.errors import Failure, NotFound
from server.jobs.job import Job
from server.media.store import MediaStore

EXPIRED_IMAGE = Failure("imageNotFound", "The image has expired.", NotFound.status)


async def without_expired(job: Job, media: MediaStore) -> Job:
    """The job with those of its images that are still there. One that has none left has failed."""
    if job.state != "done":
        return job
    owner = job.submission.owner
    there = tuple([each for each in job.results if await media.get(each.image_uuid, owner=owner) is not None])
    if there or not job.results:
        return replace(job, results=there)
    return replace(job, state="failed", failure=EXPIRED_IMAGE, results=())
