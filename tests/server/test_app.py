"""The server put together: bugs, browsers, and what is done beside requests."""

import sqlite3
import threading

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import SURFACES, create_app
from server.media.store import MediaStore
from server.options.access import DIALECTS
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post


def test_a_bug_is_not_told(client: TestClient, monkeypatch: pytest.MonkeyPatch, worker: FakeWorker) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("server.tasks.submit.to_request", broken)
    response = post(client, new_task())
    assert response.status_code == 500
    assert error_of(response)["code"] == "internalServerError"
    assert "secret" not in response.text
    monkeypatch.setattr("server.api.runware.http.parse_tasks", broken)
    response = post(client, new_task())
    assert response.status_code == 500
    assert error_of(response)["code"] == "internalServerError"


def test_what_has_expired_is_deleted_also_after_a_failure(
    settings: Settings, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = threading.Event()
    sweep = MediaStore.sweep

    async def full(self: MediaStore, now: float) -> int:
        monkeypatch.setattr(MediaStore, "sweep", again)
        raise sqlite3.OperationalError("database or disk is full")

    async def again(self: MediaStore, now: float) -> int:
        swept.set()
        return await sweep(self, now)

    monkeypatch.setattr(MediaStore, "sweep", full)
    monkeypatch.setattr("server.app.SWEEP_SECONDS", 0.01)
    with TestClient(create_app(settings, catalog, [FakeWorker()])):
        swept.wait()


def test_unfinished_files_of_a_killed_server_are_deleted_at_the_start(settings: Settings, catalog: Catalog) -> None:
    draft = settings.data_dir / "media" / "ab" / f".abcd.png.{'0' * 32}"
    draft.parent.mkdir(parents=True)
    draft.write_bytes(b"half a picture")
    with TestClient(create_app(settings, catalog, [FakeWorker()])):
        assert not draft.exists()


def test_each_dialect_can_be_switched_off_by_its_name() -> None:
    assert tuple(surface.name for surface in SURFACES) == DIALECTS
