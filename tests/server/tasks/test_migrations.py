"""Databases of version 0.1: their tasks keep their ids, and are found as before."""

import json
import sqlite3
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import new_task, post

# The tables of version 0.1 that are no longer there.
GUIDES = """
CREATE TABLE guides (
    owner TEXT NOT NULL,
    task_uuid TEXT NOT NULL,
    task_type TEXT NOT NULL,
    told_uuid TEXT NOT NULL,
    guide_uuid TEXT NOT NULL,
    input_uuid TEXT NOT NULL,
    output_type TEXT NOT NULL,
    include_cost INTEGER NOT NULL,
    warnings TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (owner, task_uuid)
);
"""
# The table before tasks that are no jobs were delivered.
DELIVERIES = """
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    position INTEGER,
    message_id TEXT NOT NULL,
    url TEXT NOT NULL,
    host TEXT NOT NULL,
    delays TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    error TEXT
);
"""
UPLOAD = {
    "taskType": "modelUpload",
    "taskUUID": "0D5F0A0E-9D0C-4D4E-8D15-3C1F1F1F1F1F",
    "category": "lora",
    "architecture": "qwen_image",
    "name": "Ink",
    "version": "1",
    "downloadURL": "http://example.com/a",
}


@pytest.fixture
def guide(settings: Settings, catalog: Catalog, worker: FakeWorker, reference: str) -> dict[str, Any]:
    """A preprocessing task that was answered, in tables as version 0.1 left them, beside a job and two uploads."""
    told = str(uuid.uuid4()).upper()
    task = {"taskType": "controlNetPreprocess", "taskUUID": told, "inputImage": reference, "includeCost": True}
    task |= {"preProcessorType": "canny", "outputFormat": "PNG"}
    with TestClient(create_app(settings, catalog, [worker]), base_url="http://box:8000") as client:
        (item,) = post(client, task).json()["data"]
    with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection, connection:
        connection.executescript("DROP TABLE picture_tasks; DROP TABLE task_ids; PRAGMA user_version = 0;" + GUIDES)
        row = (
            "",
            told.lower(),
            "controlNetPreprocess",
            told,
            item["guideImageUUID"],
            item["inputImageUUID"],
            "URL",
            1,
            "[]",
        )
        connection.execute("INSERT INTO guides VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, time.time() + 60))
    return item | {"status": "success"}


def insert(path: Path, query: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(query, values)


def ask(client: TestClient, task_uuid: str) -> Any:
    return post(client, {"taskType": "getResponse", "taskUUID": task_uuid}).json()


def test_ids_of_each_table_count_and_find_their_tasks(
    settings: Settings, catalog: Catalog, worker: FakeWorker, guide: dict[str, Any]
) -> None:
    path = settings.data_dir / "ownware.sqlite"
    uploading = "INSERT INTO uploads (owner, task_uuid, task, items, ended, created) VALUES ('', ?, ?, ?, 1, 0)"
    item = {"taskType": "modelUpload", "taskUUID": UPLOAD["taskUUID"], "status": "ready", "message": "ready"}
    insert(path, uploading, UPLOAD["taskUUID"], json.dumps(UPLOAD), json.dumps([item]))
    for _ in range(2):
        with TestClient(create_app(settings, catalog, [worker]), base_url="http://box:8000") as client:
            assert ask(client, guide["taskUUID"])["data"] == [guide]
            assert ask(client, UPLOAD["taskUUID"])["data"] == [item]
            for task_uuid in (guide["taskUUID"], UPLOAD["taskUUID"].lower()):
                errors = post(client, new_task(taskUUID=task_uuid)).json()["errors"]
                assert [error["code"] for error in errors] == ["conflictTaskUUID"]


@pytest.mark.parametrize(
    ("state", "taken"), [("done", True), ("queued", True), ("failed", False), ("cancelled", False)]
)
def test_jobs_keep_theirs_unless_they_failed(
    settings: Settings, catalog: Catalog, worker: FakeWorker, state: str, taken: bool
) -> None:
    task = new_task()
    with TestClient(create_app(settings, catalog, [worker])) as client:
        post(client, task)
    with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection, connection:
        connection.executescript("DROP TABLE picture_tasks; DROP TABLE task_ids; PRAGMA user_version = 0;")
        connection.execute("UPDATE jobs SET state = ?", (state,))
    with TestClient(create_app(settings, catalog, [worker])) as client:
        errors = post(client, task).json().get("errors", [])
    assert [error["code"] for error in errors] == (["conflictTaskUUID"] if taken else [])


def test_jobs_keep_the_spelling_of_their_ids(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    task = new_task()
    task["taskUUID"] = task["taskUUID"].upper()
    with TestClient(create_app(settings, catalog, [worker])) as client:
        post(client, task)
    with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection, connection:
        connection.executescript("UPDATE jobs SET task_uuid = lower(task_uuid); PRAGMA user_version = 1;")
    with TestClient(create_app(settings, catalog, [worker])):
        pass
    with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection:
        assert connection.execute("SELECT task_uuid FROM jobs").fetchall() == [(task["taskUUID"],)]


def test_an_id_that_stood_in_several_tables_finds_what_it_found_before(
    settings: Settings, catalog: Catalog, worker: FakeWorker, guide: dict[str, Any]
) -> None:
    path = settings.data_dir / "ownware.sqlite"
    item = {"taskType": "modelUpload", "taskUUID": guide["taskUUID"], "status": "ready", "message": "ready"}
    query = "INSERT INTO uploads (owner, task_uuid, task, items, ended, created) VALUES ('', ?, ?, ?, 1, 0)"
    insert(path, query, guide["taskUUID"], json.dumps(UPLOAD | {"taskUUID": guide["taskUUID"]}), json.dumps([item]))
    with TestClient(create_app(settings, catalog, [worker])) as client:
        assert ask(client, guide["taskUUID"])["data"] == [item]


def test_jobs_before_there_were_dialects_are_runwares(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    task = new_task()
    path = settings.data_dir / "ownware.sqlite"
    with TestClient(create_app(settings, catalog, [worker])) as client:
        post(client, task)
    with closing(sqlite3.connect(path)) as connection, connection:
        for column in ("dialect", "webhook", "upload", "held_end"):
            connection.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        connection.execute("ALTER TABLE results DROP COLUMN failure")
        connection.execute("PRAGMA user_version = 3")
    with TestClient(create_app(settings, catalog, [worker])) as client:
        assert ask(client, task["taskUUID"])["data"][0]["status"] == "success"
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT dialect, webhook, upload, held_end FROM jobs").fetchall()
        assert found == [("runware", "null", "null", None)]


def test_the_files_of_senders_are_used_by_no_new_task(
    settings: Settings, catalog: Catalog, worker: FakeWorker, reference: str
) -> None:
    edit = {"model": "runware:108@20", "referenceImages": [reference]}
    used = []
    for _ in range(2):
        with TestClient(create_app(settings, catalog, [worker])) as client:
            post(client, new_task(**edit))
            used.append(worker.jobs[-1].request.references[0])
        with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection:
            connection.execute("PRAGMA user_version = 4")
    assert used[0].path != used[1].path
    assert used[0].path.exists()
    assert used[0].sha256 == used[1].sha256


def test_the_images_of_the_kept_jobs_count_once(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    asking = {"taskType": "accountManagement", "taskUUID": str(uuid.uuid4()), "operation": "getDetails"}
    with TestClient(create_app(settings, catalog, [worker])) as client:
        post(client, new_task(numberResults=2))
    with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection, connection:
        connection.executescript("DELETE FROM image_counts; PRAGMA user_version = 8;")
    for _ in range(2):
        with TestClient(create_app(settings, catalog, [worker])) as client:
            assert post(client, asking).json()["data"][0]["usage"]["total"]["requests"] == 2


def test_images_of_before_are_listed(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    path = settings.data_dir / "ownware.sqlite"
    with TestClient(create_app(settings, catalog, [worker])) as client:
        post(client, new_task(positivePrompt="EIN GRÜNER KREIS"), new_task())
        listed = client.get("/v1/images").json()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("DROP TABLE gallery; PRAGMA user_version = 10;")
        connection.execute("UPDATE jobs SET request = 'no JSON' WHERE id = 2")
    with TestClient(create_app(settings, catalog, [worker])) as client:
        assert client.get("/v1/images").json()["images"] == listed["images"][1:]
        assert len(client.get("/v1/images?prompt=gr%C3%BCner").json()["images"]) == 1


def test_tasks_of_before_are_of_normal_priority(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    path, task = settings.data_dir / "ownware.sqlite", new_task()
    with TestClient(create_app(settings, catalog, [worker])) as client:
        post(client, task)
    with closing(sqlite3.connect(path)) as connection, connection:
        drop = "ALTER TABLE jobs DROP COLUMN priority; ALTER TABLE results DROP COLUMN busy;"
        connection.executescript(f"{drop} PRAGMA user_version = 11;")
    with TestClient(create_app(settings, catalog, [worker])) as client:
        assert ask(client, task["taskUUID"])["data"][0]["status"] == "success"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT priority FROM jobs").fetchall() == [("normal",)]


def test_deliveries_of_jobs_move_into_the_outbox(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    path, task = settings.data_dir / "ownware.sqlite", new_task()
    with TestClient(create_app(settings, catalog, [worker])) as client:
        post(client, task)
    with closing(sqlite3.connect(path)) as connection, connection:
        for column in ("webhook", "failure"):
            connection.execute(f"ALTER TABLE picture_tasks DROP COLUMN {column}")
        connection.executescript(DELIVERIES + "DROP TABLE outbox; PRAGMA user_version = 12;")
        connection.execute(
            "INSERT INTO deliveries SELECT 7, id, 'webhook', 0, 'message', 'http://a.example/', 'a.example', '[1.0]', "
            "'given_up', 2, 5.0, 'why' FROM jobs"
        )
    for _ in range(2):
        with TestClient(create_app(settings, catalog, [worker])) as client:
            details = post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"][0]
        (found,) = details["deliveries"]
        assert found == {
            "kind": "webhook", "id": "message", "state": "given_up", "tries": 2, "result": 0, "error": "why"
        }  # fmt: skip
