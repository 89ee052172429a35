"""The progress that clients are told. It never falls, not even when a task starts again."""

from server.jobs.job import Job
from server.jobs.queue import JobQueue


class ToldProgress:
    """The last progress that was told of each task that has not ended."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._told: dict[tuple[str, str], int] = {}

    def of(self, job: Job) -> int:
        """The progress of a job in percent, at least what was told before. An ended job keeps the last."""
        key = job.submission.key
        told = max(self._told.get(key, 0), self._queue.progress(job))
        if job.ended:
            self._told.pop(key, None)
        elif told:
            self._told[key] = told
        return told
