from dataclasses import replace

import pytest

from server.errors import ValueTooLarge
from server.jobs.estimates import Estimates, Measured
from server.jobs.timing.work_bound import check_work, duration
from tests.server.jobs.common import REQUEST


def test_a_task_of_a_day_is_refused_and_told_how_long_it_would_take() -> None:
    """20 results of 50 slow steps were computed for 33 hours, also after a restart."""
    estimates = Estimates()
    estimates.learn(REQUEST, Measured(118.8, 0.0))
    day = replace(REQUEST, steps=50, count=20)
    with pytest.raises(ValueTooLarge, match="about 33 hours here, and a task may take 6 hours"):
        check_work(day, estimates, 21_600)
    check_work(replace(day, count=2), estimates, 21_600)


def test_what_was_never_measured_is_not_refused() -> None:
    check_work(replace(REQUEST, width=2048, height=2048, steps=50, count=20), Estimates(), 21_600)


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7200, "2 hours")]
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
