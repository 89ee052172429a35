from pathlib import Path

import pytest

from server.database import Database
from server.jobs.supervision import supervisor
from server.jobs.timing.step_times import StepTimes
from server.media.store import MediaStore


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that died is started again at once."""
    monkeypatch.setattr(supervisor, "RESTART_PAUSE_SECONDS", 0.0)


@pytest.fixture
def media(database: Database, tmp_path: Path) -> MediaStore:
    return MediaStore(database, tmp_path / "media")


@pytest.fixture
def times(database: Database) -> StepTimes:
    return StepTimes(database)
