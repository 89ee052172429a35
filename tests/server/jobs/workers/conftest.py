from pathlib import Path

import pytest

from server.jobs.workers.messages import RenderJob
from tests.server.jobs.workers.loops import make_job


@pytest.fixture
def job(tmp_path: Path) -> RenderJob:
    return make_job(tmp_path, 1)
