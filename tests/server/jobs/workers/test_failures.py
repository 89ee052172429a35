import errno

import pytest

from pipelines.errors import LoraError
from server.errors import Failure
from server.jobs.workers.failures import failure_of, ran_out_of_memory
from tests.server.jobs.common import REQUEST


class OutOfMemoryError(RuntimeError):
    """Called as torch's own."""


@pytest.mark.parametrize(
    ("error", "code", "status", "words"),
    [
        (LoraError("why", "loras[1]"), "invalidModel", 400, "why"),
        (OSError(errno.ENOSPC, "No space left on device"), "insufficientStorage", 507, ""),
        (OutOfMemoryError("full"), "inferenceError", 500, "ran out of memory at 128×256"),
        (ZeroDivisionError("secret"), "inferenceError", 500, "The server's log has the details"),
    ],
)
def test_what_a_client_is_told(error: Exception, code: str, status: int, words: str) -> None:
    failure = failure_of(error, REQUEST)
    assert isinstance(failure, Failure)
    assert (failure.code, failure.status) == (code, status)
    assert words in failure.message
    assert "secret" not in failure.message


@pytest.mark.parametrize(
    ("error", "ran_out"), [(OutOfMemoryError(), True), (MemoryError(), True), (RuntimeError(), False)]
)
def test_running_out_of_memory(error: Exception, ran_out: bool) -> None:
    assert ran_out_of_memory(error) is ran_out
