from collections.abc import Iterator
from pathlib import Path

import pytest

from server.jobs.workers.messages import RenderJob
from tests.server.jobs.workers.loops import make_job
from tests.server.jobs.workers.process.forks import preloading


@pytest.fixture
def job(tmp_path: Path) -> RenderJob:
    return make_job(tmp_path, 1)


@pytest.fixture(scope="module")
def light_forks() -> Iterator[None]:
    """Fork the workers of a module's tests from a process that has imported the fakes, and no torch."""
    with preloading("fake_mains"):
        yield
