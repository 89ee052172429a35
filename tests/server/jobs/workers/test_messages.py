"""Messages cross a process boundary, so each of them must survive being pickled."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from accel.cache.report import CacheReport, Decision
from server.errors import Failure
from server.jobs.workers.messages import (
    Cancel,
    Cancelled,
    Failed,
    Finished,
    ImageWritten,
    Output,
    Preview,
    Progress,
    Ready,
    RenderJob,
    StartFailed,
    Stop,
    Watch,
)
from server.media.encode import Encoding
from tests.server.jobs.common import REQUEST

REPORT = CacheReport("fbcache", (Decision(0, 0, "cond", "first"),), 8, 4, 2.0)
MESSAGES = [
    RenderJob(1, REQUEST, Encoding("WEBP", 80), (Output(0, Path("/a.webp")), Output(1, Path("/b.webp")))),
    Cancel(1),
    Watch(1, True),
    Stop(),
    Ready("cpu (2 threads)", 1.5),
    StartFailed("why"),
    Progress(1, 0, 2, 20, reused=True),
    Preview(1, 0, 2, b"jpeg"),
    ImageWritten(1, 0, 64, 48, "hash", 7, 0.5, "{}", ("a warning",), REPORT),
    Finished(1),
    Cancelled(1),
    Failed(1, Failure("invalidModel", "why", 400, "loras[1]")),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: Any) -> None:
    assert pickle.loads(pickle.dumps(message)) == message
