from dataclasses import replace

import pytest

from server.jobs.job import ENDED, Job, State
from tests.server.jobs.common import SUBMISSION


def test_a_task_uuid_is_one_in_either_case() -> None:
    upper = replace(SUBMISSION, task_uuid=SUBMISSION.task_uuid.upper())
    lower = replace(SUBMISSION, task_uuid=SUBMISSION.task_uuid.lower())
    assert upper.key == lower.key == ("me", SUBMISSION.task_uuid.lower())


@pytest.mark.parametrize(
    ("state", "ended"),
    [("queued", False), ("running", False), ("done", True), ("failed", True), ("cancelled", True)],
)
def test_a_job_ends_once(state: State, ended: bool) -> None:
    assert Job(1, SUBMISSION, state, 0.0).ended == ended
    assert (state in ENDED) == ended
