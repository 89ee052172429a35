import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ownware.doctor.data_folder import check_database, check_folder
from ownware.doctor.finding import Finding
from server.app import SURFACES, TABLES
from server.database import Database
from server.keys.key_table import DATABASE_NAME
from server.process.data_lock import lock_data_folder
from server.tasks.migrations import MIGRATIONS


def by_subject(findings: Iterable[Finding]) -> dict[str, tuple[str, str]]:
    return {finding.subject: (finding.state, finding.text) for finding in findings}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder of a server that has ended."""
    schemas = [*TABLES, *(surface.schema for surface in SURFACES)]
    Database(tmp_path / DATABASE_NAME, schemas, MIGRATIONS).close()
    return tmp_path


def test_a_folder_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    found = by_subject([*check_folder(folder), *check_database(folder)])
    assert {state for state, _ in found.values()} <= {"ok", "note"}
    assert found["data folder"] == ("ok", f"{folder} will be made")
    assert found["database"] == ("ok", "none yet")
    assert not (tmp_path / "new").exists()


def test_a_sound_folder(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = by_subject([*check_folder(folder), *check_database(folder)])
    assert found["data folder"] == ("ok", str(folder))
    assert found["lock"] == ("ok", "no server uses the folder")
    assert found["database"][1].endswith(", sound")
    assert {found[each][0] for each in ("database", "clock")} == {"ok"}
    assert {name: data for name, data in before.items() if name == DATABASE_NAME} == {
        DATABASE_NAME: (folder / DATABASE_NAME).read_bytes()
    }


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert [str(finding) for finding in check_folder(tmp_path / "file" / "data")] == [
        f"stops  data folder  {tmp_path / 'file'} is a file"
    ]


def test_what_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "media").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "media")  # root can write everything
    state, text = by_subject(check_folder(folder))["data folder"]
    assert (state, text) == ("stops", f"{folder / 'media'} cannot be written by user {os.getuid()}")


@pytest.mark.parametrize(("free", "state"), [(10**12, "ok"), (10**8, "note"), (10**6, "stops")])
def test_space(folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage: Any = shutil.disk_usage(folder)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert by_subject(check_folder(folder))["disk space"][0] == state


def test_a_server_at_work(folder: Path) -> None:
    with lock_data_folder(folder):
        assert by_subject(check_folder(folder))["lock"] == ("ok", f"a server uses it: process {os.getpid()}")


@pytest.mark.parametrize("damage", [b"no database at all", b""])
def test_a_damaged_database(folder: Path, damage: bytes) -> None:
    path = folder / DATABASE_NAME
    data = bytearray(path.read_bytes())
    if damage:
        data[: len(damage)] = damage
    else:
        data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    assert by_subject(check_database(folder))["database"][0] == "stops"


def test_a_newer_database_and_a_clock_that_was_set_back(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        columns = "owner, task_uuid, task, request, encoding, image_uuids, ttl, warnings, dialect, created"
        values = ("", "1", "{}", "{}", "{}", "[]", 60, "[]", "runware", time.time() + 500)
        connection.execute(f"INSERT INTO jobs ({columns}) VALUES ({', '.join('?' * len(values))})", values)
        connection.commit()
    found = by_subject(check_database(folder))
    assert found["database"][0] == "note"
    assert "newer version" in found["database"][1]
    assert found["clock"][0] == "note"
    assert "seconds before the latest task" in found["clock"][1]


def test_a_clock_before_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert by_subject(check_database(tmp_path))["clock"] == (
        "note",
        "1970-01-01 00:00:00 UTC is before this program was installed",
    )
