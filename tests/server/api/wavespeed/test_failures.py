import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.wavespeed.failures import code_of, text_of
from server.errors import Failure
from server.jobs.job import CANCELLED
from server.tasks.endings.deadlines import TIMED_OUT


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("nsfwContentDetected", 1200),
        ("invalidModel", 1401),
        ("imageNotFound", 1402),
        ("invalidImage", 1402),
        ("invalidImages", 1402),
        ("inferenceError", 1403),
        ("internalServerError", 5000),
        ("modelNotReady", 5003),
        (TIMED_OUT.code, 5004),
        (CANCELLED.code, None),
    ],
)
def test_codes(code: str, expected: int | None) -> None:
    assert code_of(Failure(code, "why", 500)) == expected


def test_what_a_text_keeps() -> None:
    message = "The image's server answered with status 429: HTTP 503, connection timeout."
    assert text_of(Failure("invalidImage", message, 400)) == (
        "The image's server answered with status “too many requests”: status 503, link time limit."
    )


# As the two SDKs look for a reason to submit again.
PIECES = st.sampled_from(["HTTP 5", "http  503", "HTTP-500", "429", "4", "29", "Timeout", "connection", "time", "out"])


@given(message=st.lists(PIECES | st.text(max_size=5), max_size=8).map("".join))
def test_no_text_makes_a_client_submit_again(message: str) -> None:
    text = text_of(Failure("inferenceError", message, 500)).lower()
    assert not re.search(r"timeout|connection|http 5|http 429|429", text)
