import contextlib
import time
import uuid

import pytest
from starlette.testclient import TestClient

from server.keys.api_key import KeyLimits
from server.keys.key_table import KeyTable
from server.settings import Settings
from tests.server.conftest import new_task, post


def test_usage_counts_images_by_period(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = time.time() // 86_400 * 86_400 + 43_200
    monkeypatch.setattr(time, "time", lambda: noon)
    post(client, new_task(numberResults=2))
    task = {"taskType": "accountManagement", "taskUUID": str(uuid.uuid4()), "operation": "getDetails"}
    (item,) = post(client, task).json()["data"]
    assert (item["taskUUID"], item["operation"], item["balance"]) == (task["taskUUID"], "getDetails", 0)
    assert {period["credits"] for period in item["usage"].values()} == {0}
    counts = {name: period["requests"] for name, period in item["usage"].items()}
    assert counts == {"total": 2, "today": 2, "last7Days": 2, "last30Days": 2}


def test_a_ping_is_answered_with_its_uuid_if_it_has_one(client: TestClient) -> None:
    task_uuid = str(uuid.uuid4())
    assert post(client, {"taskType": "ping", "ping": True}).json() == {"data": [{"taskType": "ping", "pong": True}]}
    (item,) = post(client, {"taskType": "ping", "taskUUID": task_uuid}).json()["data"]
    assert item == {"taskType": "ping", "pong": True, "taskUUID": task_uuid}


def test_a_stored_key_learns_its_limits_and_its_images(client: TestClient, settings: Settings) -> None:
    asking = {"taskType": "accountManagement", "taskUUID": str(uuid.uuid4()), "operation": "getDetails"}
    assert post(client, asking).json()["data"][0]["apiKeys"] == []
    with contextlib.closing(KeyTable(settings.data_dir)) as table:
        secret = table.add("alice", KeyLimits(weight=2, rate=9), expires=4e9)
        other = table.add("bob", KeyLimits())
    for key, images in ((secret, 2), (other, 1)):
        assert (
            post(client, new_task(numberResults=images), headers={"Authorization": f"Bearer {key}"}).status_code == 200
        )
    (item,) = post(client, asking, headers={"Authorization": f"Bearer {secret}"}).json()["data"]
    (key,) = item["apiKeys"]
    assert key.pop("createdAt").endswith("+00:00")
    assert key == {
        "name": "alice",
        "apiKey": f"{secret[:9]}…",
        "requests": 2,
        "weight": 2,
        "ratePerMinute": 9,
        "expiresAt": "2096-10-02T07:06:40+00:00",
    }
