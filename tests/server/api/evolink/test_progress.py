from dataclasses import replace
from typing import Any

import pytest

from server.api.evolink.progress import ToldProgress
from server.jobs.job import Job
from tests.server.jobs.common import submission


class FakeQueue:
    """A queue whose progress is what the test says."""

    now = 0

    def progress(self, job: Job) -> int:
        return self.now


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


def test_it_never_falls(queue: Any) -> None:
    told, job = ToldProgress(queue), Job(1, submission(), "running", 0.0)

    def seen_at(now: int) -> int:
        queue.now = now
        return told.of(job)

    seen = [seen_at(now) for now in (0, 40, 0, 10, 70, 0)]
    assert seen == [0, 40, 40, 40, 70, 70]
    other = Job(2, replace(submission(), task_uuid="other"), "running", 0.0)
    assert told.of(other) == 0
    assert told.of(replace(job, state="failed")) == 70
    assert told.of(replace(job, state="queued")) == 0
