from dataclasses import replace

import pytest

from server.jobs.estimates import Estimates, Measured
from server.jobs.timing.silence import SLOWER_THAN_USUAL, UNKNOWN_SECONDS, SilenceLimits, allowed_silence
from server.jobs.workers.messages import Finished, Loading, Progress, Reply
from tests.server.jobs.common import REQUEST

LIMITS = SilenceLimits(least=1.0, loading=1000.0)


@pytest.mark.parametrize(
    ("last", "usual"),
    [
        (None, 7 + 5),  # the text encoder, and the first step
        (Progress(1, 0, 1, 3), 5),
        (Progress(1, 0, 3, 3), 7 + 5),  # the VAE and the file; no step follows, but it may be that of a face
        (Finished(1), 7 + 5),
    ],
)
def test_a_known_request_may_be_silent_for_a_multiple_of_its_usual_seconds(last: Reply | None, usual: float) -> None:
    estimates = Estimates()
    estimates.learn(REQUEST, Measured(5.0, 7.0))
    assert allowed_silence(REQUEST, last, estimates, LIMITS) == pytest.approx(SLOWER_THAN_USUAL * usual)


def test_fast_steps_are_given_the_least_time() -> None:
    estimates = Estimates()
    estimates.learn(REQUEST, Measured(0.001, 0.001))
    assert allowed_silence(REQUEST, None, estimates, LIMITS) == LIMITS.least


def test_loading_has_its_own_bound() -> None:
    assert allowed_silence(REQUEST, Loading(1), Estimates(), LIMITS) == LIMITS.loading


def test_a_request_of_a_new_size_is_given_time() -> None:
    estimates = Estimates()
    estimates.learn(replace(REQUEST, width=2048, height=2048), Measured(0.001, 0.001))
    assert allowed_silence(REQUEST, None, estimates, LIMITS) == UNKNOWN_SECONDS
    assert allowed_silence(REQUEST, None, Estimates(), SilenceLimits(least=2000.0)) == 2000.0
