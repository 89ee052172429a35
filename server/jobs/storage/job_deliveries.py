"""What becomes of the webhooks and uploads of jobs, and of the jobs with them. Knows no receiver and no wire format."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from server.database import Database
from server.delivery import outbox
from server.delivery.outbox import Delivery, count_states, end_delivery, uploads_wait
from server.errors import Failure
from server.jobs.job import Job, Result
from server.jobs.storage.job_table import JobTable, tell_result
from server.jobs.storage.rows import held_end, set_result_failure


@dataclass(frozen=True, slots=True)
class UploadEnd:
    """The upload of a result has ended. `ends_job` says whether its job has ended with it."""

    job: Job
    result: Result
    ends_job: bool


@dataclass(frozen=True, slots=True)
class WebhooksEnd:
    """All webhooks of a job that has ended at a time, in seconds since the epoch, have ended in these states."""

    task_uuid: str
    finished: float
    states: Mapping[outbox.State, int]


class JobDeliveries:
    """The deliveries of the jobs of one database. A part of `JobStore`."""

    def __init__(self, database: Database, table: JobTable, wake: Callable[[], None]) -> None:
        self._database = database
        self._table = table
        self._wake = wake

    async def job_of(self, delivery: Delivery) -> Job | None:
        """The job of a row of the outbox. None when both are gone."""

        def work(connection: sqlite3.Connection) -> Job | None:
            row = connection.execute("SELECT job_id FROM outbox WHERE id = ?", (delivery.id,)).fetchone()
            return self._table.read(connection, row["job_id"]) if row else None

        return await self._database.run(work)

    async def end_upload(self, delivery: Delivery, error: str | None, failure: Failure | None) -> UploadEnd | None:
        """Store that the upload of a result has ended, well or with a failure of the result.

        Its webhook is due then. A job that its worker has ended ends with its last upload. None when the job is gone.
        """

        def work(connection: sqlite3.Connection) -> UploadEnd | None:
            job_id = delivery.job_id
            if job_id is None or not end_delivery(connection, delivery, error):
                return None
            if failure is not None:
                set_result_failure(connection, job_id, delivery.position, failure)
            job = self._table.read(connection, job_id)
            result = next(result for result in job.results if result.index == delivery.position)
            tell_result(connection, job, result)
            held = None if uploads_wait(connection, job_id) else held_end(connection, job_id)
            if held is None:
                return UploadEnd(self._table.read(connection, job_id), result, ends_job=False)
            return UploadEnd(self._table.end(connection, job_id, *held), result, ends_job=True)

        done = await self._database.run(work)
        self._wake()
        return done

    async def end_webhook(self, delivery: Delivery, error: str | None) -> tuple[bool, WebhooksEnd | None]:
        """Store that a webhook has ended. It changes nothing else of its job.

        Returns false when the job is gone, and the end of all webhooks if it was the last one of a job that has ended.
        """

        def work(connection: sqlite3.Connection) -> tuple[bool, WebhooksEnd | None]:
            if delivery.job_id is None or not end_delivery(connection, delivery, error):
                return False, None
            query = "SELECT task_uuid, finished FROM jobs WHERE id = ? AND finished IS NOT NULL"
            row = connection.execute(query, (delivery.job_id,)).fetchone()
            if row is None or "waiting" in (states := count_states(connection, delivery.job_id)["webhook"]):
                return True, None
            return True, WebhooksEnd(row["task_uuid"], row["finished"], states)

        return await self._database.run(work)
