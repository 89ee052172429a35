import sqlite3
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.database import Database
from server.jobs.estimates import Measured
from server.jobs.timing.step_times import SCHEMA, StepTimes, read_estimates
from tests.server.jobs.common import REQUEST


async def test_what_is_learnt_survives_a_restart(database: Database) -> None:
    times = StepTimes(database)
    await times.open()
    await times.learn(REQUEST, Measured(0.5, 2.0))
    await times.learn(REQUEST, Measured(0.6, 2.0))
    later = StepTimes(database)
    assert not later.estimates.knows(REQUEST)
    await later.open()
    assert later.estimates.step_seconds(REQUEST) == times.estimates.step_seconds(REQUEST) == pytest.approx(0.53)
    assert later.estimates.rest_seconds(REQUEST) == 2.0


async def test_another_process_reads_what_is_learnt(tmp_path: Path) -> None:
    path = tmp_path / "a b.sqlite"
    assert not read_estimates(path).knows(REQUEST)
    database = Database(path, [SCHEMA])
    times = StepTimes(database)
    await times.learn(REQUEST, Measured(0.5, 2.0))
    before = path.read_bytes()
    assert read_estimates(path).seconds(REQUEST) == times.estimates.seconds(REQUEST)
    assert path.read_bytes() == before
    database.close()


def test_a_file_without_the_table_has_learnt_nothing(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    sqlite3.connect(path).close()
    path.write_bytes(b"no database")
    assert not read_estimates(path).knows(REQUEST)


async def test_a_measurement_that_cannot_be_is_not_stored(database: Database) -> None:
    times = StepTimes(database)
    await times.learn(REQUEST, Measured(-1.0, 2.0))
    await times.open()
    assert not times.estimates.knows(REQUEST)


async def test_on_a_full_disk_it_is_learnt_for_this_process(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(work: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    times = StepTimes(database)
    monkeypatch.setattr(database, "run", full)
    with capture_logs() as logs:
        await times.learn(REQUEST, Measured(0.5, 2.0))
    assert times.estimates.knows(REQUEST)
    assert "cannot be stored" in logs[0]["event"]
