"""No dialect answers with success and the address of an image that is gone."""

import sqlite3
from contextlib import closing

import pytest
from starlette.testclient import TestClient

from server.settings import Settings
from tests.server.api.evolink.conftest import BODY, CREATE, TASKS, ended
from tests.server.api.runpod.common import DRAW, run_sync
from tests.server.api.wavespeed.common import data_of, submit
from tests.server.conftest import new_task, post


@pytest.fixture
def client(client: TestClient) -> TestClient:
    client.headers["Authorization"] = "Bearer any"
    return client


def expire(settings: Settings) -> None:
    """Let the lifetime of every image be over."""
    with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection, connection:
        connection.execute("UPDATE media SET expires = 1")


def test_runware(client: TestClient, settings: Settings) -> None:
    task = new_task()
    item = post(client, task).json()["data"][0]
    expire(settings)
    gone = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()
    assert (gone["data"], [error["code"] for error in gone["errors"]]) == ([], ["imageNotFound"])
    assert client.get(item["imageURL"]).status_code == 404


def test_wavespeed(client: TestClient, settings: Settings) -> None:
    done = data_of(submit(client, enable_sync_mode=True))
    expire(settings)
    gone = data_of(client.get(done["urls"]["get"]))
    assert (gone["status"], gone["outputs"], gone["code"]) == ("failed", [], 1402)
    (listed,) = data_of(client.post("/api/v3/predictions", json={}))["items"]
    assert (listed["status"], listed["outputs"]) == ("failed", [])


def test_runpod(client: TestClient, settings: Settings) -> None:
    done = run_sync(client).json()
    expire(settings)
    for operation in ("status", "status-sync"):
        gone = client.get(f"{DRAW}/{operation}/{done['id']}").json()
        assert (gone["status"], gone["error"], "output" in gone) == ("FAILED", "The image has expired.", False)
    assert client.get(f"{DRAW}/stream/{done['id']}").json() == {"status": "FAILED", "stream": []}


def test_evolink(client: TestClient, settings: Settings) -> None:
    task_id = client.post(CREATE, json=BODY).json()["id"]
    assert ended(client, task_id)["status"] == "completed"
    expire(settings)
    gone = client.get(f"{TASKS}/{task_id}").json()
    assert (gone["status"], gone["error"]["code"], "results" in gone) == ("failed", "resource_not_found", False)
